"""First boot: from an installed system to a wizard that answers, as resumable steps."""
