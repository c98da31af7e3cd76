"""The admin panel: shows the host to its operator, who logs in by signing a challenge.

It runs as user `blockhost` on loopback behind nginx; what needs root goes through the root agent.
"""
