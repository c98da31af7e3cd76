"""Subscriptions become machines, and stay what they should be: one durable job for each of them.

| module     | what                                                                               |
|------------|------------------------------------------------------------------------------------|
| `source`   | what an engine supplies: who subscribed to what until when, and how to reach them  |
| `jobs`     | the book of jobs: what is due, what is being done, what an operator must look at   |
| `decision` | which one action brings a machine closer to its subscription; pure                 |
| `worker`   | doing that action through the provisioner                                          |
| `monitor`  | the service's loop                                                                 |

An event only says "look at subscription 7". What to do is decided from what is: the subscription at
its source, the machine in the database. So an event that comes twice, late, or after a crash does no
harm, and whatever a killed monitor had begun is recognised or completed by the next one.
"""

from blockhost.subscriptions.source import Event, Machine, Source, Subscription, UserData

__all__ = ["Event", "Machine", "Source", "Subscription", "UserData"]
