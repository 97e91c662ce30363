"""Counts what kcat has dumped of the topics, knowing nothing of kafkalab: lines of `headers TAB value` on stdin, JSON out."""
import json
import sys
from collections import Counter, defaultdict
from decimal import Decimal

events = {}
for line in sys.stdin:
    headers, value = line.rstrip("\n").split("\t", 1)
    headers = dict(header.split("=", 1) for header in headers.split(",") if "=" in header)
    events[headers["ce_id"]] = (headers["ce_time"], headers["ce_type"].rsplit(".", 1)[1], json.loads(value))

orders, users, products = defaultdict(set), Counter(), Counter()
paid, refunded, payments, created = Counter(), Counter(), Counter(), []
for event_id, (time, kind, event) in events.items():
    orders[event["order_id"]].add(kind)
    if kind == "OrderCreated":
        users[event["user_id"]] += 1
        products[event["product_id"]] += 1
        created.append((time, event_id, event["order_id"]))
    elif kind == "OrderPaid":
        payments[event["amount"]["currency"]] += 1
        paid[event["amount"]["currency"]] += Decimal(event["amount"]["amount"])
    elif kind == "PaymentRefunded":
        refunded[event["amount"]["currency"]] += Decimal(event["amount"]["amount"])

statuses = Counter()
for kinds in orders.values():
    if "OrderCreated" not in kinds:
        statuses["AWAITED"] += 1
    elif "OrderCancelled" in kinds:
        statuses["CANCELLED"] += 1
    elif "OrderShipped" in kinds:
        statuses["SHIPPED"] += 1
    else:
        statuses["PAID" if "OrderPaid" in kinds else "CREATED"] += 1

json.dump(
    {
        "orders": len(orders),
        "users": dict(users),
        "products": dict(products),
        "statuses": dict(statuses),
        "revenue": {code: [payments[code], str(paid[code]), str(refunded[code])] for code in payments},
        "recent": [order for _, _, order in sorted(created, reverse=True)[:100]],
    },
    sys.stdout,
)
