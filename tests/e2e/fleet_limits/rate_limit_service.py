"""Envoy's rate limit service protocol before a limiter.

Each part is somebody else's: gRPC's own server, the messages generated from Envoy's files, and the `limits` library,
whose fixed windows count as those of Envoy's reference service do (a hit that is refused has been counted all the same).
Here is only what the reference does between them: a descriptor is limited by the rule that has its keys, each set of
values by itself; no rule is no limit; hits are the descriptor's if it says how many, else the request's, else one.

    rate_limit_service.py PORT '[{"domain": "chat", "keys": ["tenant"], "limit": 10, "unit": "day"}]'
"""

import json
import signal
import sys
import time
from concurrent import futures

import grpc
import limits
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

Response = rls_pb2.RateLimitResponse


class Service(rls_pb2_grpc.RateLimitServiceServicer):
    def __init__(self, rules):
        self.rules = {(rule["domain"], tuple(rule["keys"])): rule for rule in rules}
        self.limiter = FixedWindowRateLimiter(MemoryStorage())

    def ShouldRateLimit(self, request, context):
        if not request.domain:
            context.abort(grpc.StatusCode.UNKNOWN, "rate limit domain must not be empty")
        if not request.descriptors:
            context.abort(grpc.StatusCode.UNKNOWN, "rate limit descriptor list must not be empty")
        hits = max(1, request.hits_addend)
        statuses = [self.status(request.domain, descriptor, hits) for descriptor in request.descriptors]
        refused = any(status.code == Response.OVER_LIMIT for status in statuses)
        return Response(overall_code=Response.OVER_LIMIT if refused else Response.OK, statuses=statuses)

    def status(self, domain, descriptor, hits):
        keys = tuple(entry.key for entry in descriptor.entries)
        rule = self.rules.get((domain, keys))
        if rule is None:
            return Response.DescriptorStatus(code=Response.OK)
        if descriptor.HasField("hits_addend"):
            hits = descriptor.hits_addend.value
        item = limits.parse(f"{rule['limit']} per {rule['unit']}")
        counter = [domain, *keys, *(entry.value for entry in descriptor.entries)]
        within = self.limiter.hit(item, *counter, cost=hits)
        window = self.limiter.get_window_stats(item, *counter)
        status = Response.DescriptorStatus(
            code=Response.OK if within else Response.OVER_LIMIT,
            current_limit=Response.RateLimit(
                name="_".join(keys),
                requests_per_unit=rule["limit"],
                unit=Response.RateLimit.Unit.Value(rule["unit"].upper()),
            ),
            limit_remaining=window.remaining,
        )
        status.duration_until_reset.FromSeconds(max(0, round(window.reset_time - time.time())))
        return status


def main(port, rules):
    # One thread: the counters of `limits` are exact only one request at a time.
    server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(Service(json.loads(rules)), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("serving", flush=True)
    signal.pause()


main(*sys.argv[1:])
