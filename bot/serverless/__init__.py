"""Chats and the web page without a server of one's own: ASGI applications on machines that may be taken away.

Slack's and Discord's events come in by HTTP and are acknowledged at once. What they ask for goes on in the same
process, and `Chats.attend` keeps the machine until it is done. The database is copied to a volume as soon as it has
changed, so a machine that is lost without notice loses what was accepted since the last copy: a second or two.
"""
