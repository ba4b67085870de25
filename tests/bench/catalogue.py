"""All rows, in the order of the table."""

from tests.bench.contest import Row
from tests.bench.rows.bayeux import (
    bayeux_bytes_per_socket,
    bayeux_fanout_vs_faye_redis,
    bayeux_latency_vs_faye_redis,
)
from tests.bench.rows.faye import (
    fanout_vs_faye_memory,
    fanout_vs_faye_redis,
    latency_vs_faye_redis,
    redis_fanout_vs_faye_redis,
    redis_latency_vs_faye_redis,
)
from tests.bench.rows.growth import bytes_per_client, publish_flat_away, publish_flat_clients, publish_flat_patterns
from tests.bench.rows.link import link_vs_bare
from tests.bench.rows.operations import pipeline_vs_bare, pipeline_vs_unary, unary_vs_bare
from tests.bench.rows.redis import redis_commands_per_publish
from tests.bench.rows.storm import redis_clients_vs_faye_redis, storm_vs_faye_redis

__all__ = ["ROWS"]

ROWS = (
    Row("fanout_vs_faye_redis", "2 Faye servers, 100 sockets", "deliveries/s", 10, fanout_vs_faye_redis),
    Row("fanout_vs_faye_memory", "the same, 1 Faye server", "deliveries/s", 0.5, fanout_vs_faye_memory),
    Row("latency_vs_faye_redis", "200 messages/s, p99", "ms", 2, latency_vs_faye_redis, more_is_better=False),
    Row("link_vs_bare", "1 link, 1,000 handles", "deliveries/s", 0.6, link_vs_bare),
    Row("pipeline_vs_bare", "create + subscribe", "operations/s", 0.5, pipeline_vs_bare),
    Row("unary_vs_bare", "GetClient, 64 at once", "calls/s", 0.85, unary_vs_bare),
    Row("pipeline_vs_unary", "create + subscribe", "operations/s", 20, pipeline_vs_unary),
    Row("publish_flat_clients", "10^6 clients, and 10^3", "s", 0.8, publish_flat_clients, more_is_better=False),
    Row("publish_flat_away", "10^5 away, and 10^2", "s", 0.8, publish_flat_away, more_is_better=False),
    Row("publish_flat_patterns", "10^5 patterns, and 10", "s", 0.8, publish_flat_patterns, more_is_better=False),
    Row("storm_vs_faye_redis", "20,000 clients come back", "s", 5, storm_vs_faye_redis, more_is_better=False),
    Row(
        "redis_fanout_vs_faye_redis",
        "2 pixied on one Redis, 100 sockets",
        "deliveries/s",
        5,
        redis_fanout_vs_faye_redis,
    ),
    Row(
        "redis_latency_vs_faye_redis",
        "the same, 100 messages/s, p99",
        "ms",
        1,
        redis_latency_vs_faye_redis,
        more_is_better=False,
    ),
    Row(
        "redis_clients_vs_faye_redis",
        "the same, 10,000 clients come",
        "s",
        5,
        redis_clients_vs_faye_redis,
        more_is_better=False,
    ),
    Row(
        "redis_commands_per_publish",
        "10^4 subscribers, and 10",
        "commands",
        1,
        redis_commands_per_publish,
        more_is_better=False,
        once=True,
    ),
    Row("bytes_per_client", "10^6 idle clients", "bytes", 1.3, bytes_per_client, more_is_better=False, once=True),
    Row("bayeux_fanout_vs_faye_redis", "2 pixied bayeux, 500 sockets", "deliveries/s", 1, bayeux_fanout_vs_faye_redis),
    Row(
        "bayeux_latency_vs_faye_redis",
        "the same, 100 messages/s, p99",
        "ms",
        2,
        bayeux_latency_vs_faye_redis,
        more_is_better=False,
    ),
    # No more than told: a Python object weighs what it weighs.
    Row(
        "bayeux_bytes_per_socket",
        "2,000 idle sockets, and Faye's",
        "bytes",
        None,
        bayeux_bytes_per_socket,
        more_is_better=False,
        once=True,
    ),
)
