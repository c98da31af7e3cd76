"use strict";
// The console's QR code carries the code behind `#`, which browsers never send: fill it in here.
const code = decodeURIComponent(location.hash.slice(1)).replace(/^(otp|code)=/, "");
if (/^[A-Za-z0-9 -]{6,24}$/.test(code)) {
  const field = document.getElementById("otp");
  field.value = code.toUpperCase();
  document.querySelector("button[type=submit]").focus();
}
// It must not stay in the address bar or the history.
if (location.hash) history.replaceState(null, "", location.pathname);
