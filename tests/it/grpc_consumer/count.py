"""Counts what kcat has dumped of the topics, knowing nothing of kafkalab: lines of `headers TAB value` on stdin, JSON out."""
import json
import sys
from collections import Counter, defaultdict

events = {}
for line in sys.stdin:
    headers, value = line.rstrip("\n").split("\t", 1)
    headers = dict(header.split("=", 1) for header in headers.split(",") if "=" in header)
    events[headers["ce_id"]] = (headers["ce_time"], headers["ce_type"].rsplit(".", 1)[1], json.loads(value))

kinds, users, products, days, orders = Counter(), Counter(), Counter(), Counter(), defaultdict(dict)
for time, kind, event in events.values():
    kinds[kind] += 1
    orders[event["order_id"]][kind] = event
    if kind == "OrderCreated":
        users[event["user_id"]] += 1
        products[event["product_id"]] += 1
        days[time[:10]] += 1


def status(known):
    if "OrderCreated" not in known:
        return "AWAITED"
    for kind, name in (("OrderCancelled", "CANCELLED"), ("OrderShipped", "SHIPPED"), ("OrderPaid", "PAID")):
        if kind in known:
            return name
    return "CREATED"


json.dump(
    {
        "counts": {"events": kinds, "users": users, "products": products, "days": days},
        "created": sorted(order for order, known in orders.items() if "OrderCreated" in known),
        "documents": {
            order: [status(known), known.get("OrderCreated", {}).get("user_id"), known.get("OrderCreated", {}).get("product_id")]
            for order, known in orders.items()
        },
    },
    sys.stdout,
)
