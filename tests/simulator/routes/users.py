"""Users, direct conversations, and the gateway's address."""

from __future__ import annotations

from tests.simulator.errors import unknown
from tests.simulator.routing import Answer, Call, Routes

ROUTES = Routes()


@ROUTES.on("GET", "/gateway", for_anyone=True)
def get_gateway(_: Call) -> Answer:
    """Where the gateway is."""
    return Answer(body={"url": "wss://gateway.discord.gg"})


@ROUTES.on("GET", "/gateway/bot")
def get_bot_gateway(call: Call) -> Answer:
    """Where it is, and how many shards are advised."""
    limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 16}
    shards = call.world.limits.recommended_shards
    return Answer(body={"url": "wss://gateway.discord.gg", "shards": shards, "session_start_limit": limit})


@ROUTES.on("GET", "/users/@me")
def get_me(call: Call) -> Answer:
    """The bot itself."""
    return Answer(body=call.world.bot.own_payload())


@ROUTES.on("GET", "/users/{user_id}")
def get_user(call: Call) -> Answer:
    """Somebody."""
    user = call.world.users.get(call.id("user_id"))
    if user is None:
        raise unknown("user")
    return Answer(body=user.payload())


@ROUTES.on("POST", "/users/@me/channels")
def open_direct_channel(call: Call) -> Answer:
    """Open the conversation with a user."""
    user = call.world.users.get(int(call.json["recipient_id"]))
    if user is None or user.bot:
        raise unknown("user")
    return Answer(body=call.world.direct_channel(user).payload())
