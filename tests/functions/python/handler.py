"""The function of `make demo`: prints, logs JSON, sends custom metrics, makes spans; fails or takes its time when told to."""

import json
import time

from datadog_lambda.metric import lambda_metric
from ddtrace import tracer

print("loading the price list")


def handler(event, context):
    kind = event["kind"]
    print(f"order {event['order']} received ({kind})")
    print(json.dumps({"level": "WARN", "message": "stock is low", "order": event["order"]}))
    lambda_metric("demo.orders", 1, tags=[f"kind:{kind}"])
    for amount in event["amounts"]:
        lambda_metric("demo.amount", amount, tags=[f"kind:{kind}"])
    with tracer.trace("demo.checkout", service="demo", resource="checkout") as checkout:
        checkout.set_tag("order", event["order"])
        with tracer.trace("demo.validate", service="demo"):
            if kind == "failing":
                raise ValueError(f"order {event['order']} is empty")
        with tracer.trace("demo.prices", service="prices", resource="GET /prices", span_type="http") as prices:
            prices.set_tag("http.method", "GET")
            prices.set_tag("http.url", "http://prices.internal/prices")
            time.sleep(event.get("seconds", 0.005))
            prices.set_tag("http.status_code", "200")
    print(f"order {event['order']} done")
    return {"order": event["order"], "total": sum(event["amounts"])}
