"""From the options of a whole (`barnabas.workers` brokers on one data folder) to those of each of its workers.

Worker i   has node id `node.id` + i. Its own listeners have the names and hosts of the configured ones and ports from
           `barnabas.workers.port` on: listener k of worker i has port + k × workers + i (0: any free one each). The
           configured listeners themselves are shared by all workers, for a client's first question.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from barnabas.config.effective import BrokerOptions
from barnabas.config.load import BOOTSTRAP, Listener, listeners_of, node_id_of, parse_listeners

OF_THE_WHOLE: Final = ("barnabas.workers", "barnabas.workers.port", "broker.id")


def own_listeners(options: BrokerOptions) -> dict[int, list[Listener]]:
    """What each worker listens on alone, by node id."""
    count, port = options.get_int("barnabas.workers"), options.get_int("barnabas.workers.port")
    first = node_id_of(options.static)
    return {
        first + place: [
            Listener(each.name, each.host, port and port + index * count + place, each.protocol)
            for index, each in enumerate(listeners_of(options.static))
        ]
        for place in range(count)
    }


def worker_options(
    options: BrokerOptions, shared: Sequence[Listener], own: Mapping[int, Sequence[Listener]]
) -> dict[int, dict[str, str]]:
    """The options of each worker by its node id. shared: the configured listeners, own: those of each worker alone; both
    with the ports that they really have.
    """
    metrics_port = options.get_int("barnabas.metrics.port")
    found = {}
    for place, (node_id, listeners) in enumerate(own.items()):
        of_one = {name: value for name, value in options.static.items() if name not in OF_THE_WHOLE}
        of_one["node.id"] = str(node_id)
        of_one["listeners"] = ",".join(map(repr, listeners))
        of_one[BOOTSTRAP] = ",".join(map(repr, shared))
        of_one["barnabas.metrics.port"] = str(metrics_port + place if metrics_port > 0 else metrics_port)
        advertised = _advertised(options.static, listeners)
        if advertised:
            of_one["advertised.listeners"] = ",".join(map(repr, advertised))
        found[node_id] = of_one
    return found


def _advertised(values: Mapping[str, str], own: Sequence[Listener]) -> list[Listener]:
    """The hosts that clients are told, with the ports of one worker."""
    ports = {listener.name: listener.port for listener in own}
    told = parse_listeners("advertised.listeners", values.get("advertised.listeners", ""), values)
    return [
        Listener(each.name, each.host, ports[each.name], each.protocol) for each in told if each.name in ports
    ]
