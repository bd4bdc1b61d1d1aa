"""The function of the tests `python::*` in tests/clients: uses Datadog's libraries as the event says, and keeps a record of
every span that the tracer hands to its writer, so that a test can compare what was made with what arrived."""

import json
import logging
import socketserver
import sqlite3
import threading
import time
from datetime import datetime, timedelta, timezone

import redis
import requests
from datadog.dogstatsd import DogStatsd
from datadog_lambda.metric import lambda_metric
from ddtrace import tracer
from ddtrace.data_streams import set_consume_checkpoint, set_produce_checkpoint
from ddtrace.debugging._uploader import SignalUploader
from ddtrace.internal import agent as ddtrace_agent
from ddtrace.internal.datastreams import data_streams_processor
from ddtrace.internal.remoteconfig.worker import remoteconfig_poller
from ddtrace.internal.telemetry import telemetry_writer
from ddtrace.internal.writer import NativeWriter
from ddtrace.llmobs import LLMObs
from ddtrace.profiling.profiler import Profiler

RECORD = "/tmp/spans.jsonl"


def record_spans():
    """Makes the tracer's writer append each span it is given to RECORD."""
    write = NativeWriter.write

    def recording(self, spans=None):
        with open(RECORD, "a") as out:
            for span in spans or []:
                print(json.dumps(described(span)), file=out)
        return write(self, spans)

    NativeWriter.write = recording


def described(span):
    """The span as the intake's decoder names its parts."""
    return {
        "trace_id": span._trace_id_64bits,
        "span_id": span.span_id,
        "parent_id": span.parent_id or 0,
        "name": span.name,
        "service": span.service,
        "resource": span.resource,
        "kind": span.span_type or "",
        "start": span.start_ns,
        "duration": span.duration_ns,
        "error": span.error,
        "meta": dict(span._get_str_attributes()),
        "metrics": {key: repr(value) for key, value in span._get_numeric_attributes().items()},  # every digit
        "meta_struct": span._get_meta_structs(),
        "links": [link.to_dict() for link in span._get_links()],
        "events": [
            {"name": event.name, "time": event.time_unix_nano, "attributes": event.attributes}
            for event in span._get_events()
        ],
    }


record_spans()
print("printed while loading")


def spans(event):
    """Nested spans with every kind of tag; one of them fails, and the exception is caught."""
    with tracer.trace("shop.order", service="shop", resource="order 7", span_type="worker") as order:
        order.set_tag("text", "ünïcode \U0001f600")
        order.set_tag("empty", "")
        order.set_tag("long", "x" * 6000)
        order.set_metric("amount", 12.75)
        order.set_metric("count", -3)
        if event.get("struct"):
            order._set_struct_tag("shop", {"items": [1, 2, {"deep": True}], "name": "ü"})
        with tracer.trace("shop.validate") as validate:
            try:
                with tracer.trace("shop.check", resource="check stock"):
                    raise KeyError("no stock")
            except KeyError:
                validate.set_tag("outcome", "none left")
        with tracer.trace("shop.pay", service="payments", resource="POST /pay", span_type="http") as pay:
            pay.set_tag("http.method", "POST")
            pay.set_tag("http.status_code", 201)
            pay.set_link(order.trace_id, order.span_id, attributes={"why": "paid", "n": [1, 2]})
            pay.set_link(2**128 - 2, 2**64 - 1, tracestate="dd=s:2", flags=1)
            pay._add_event("authorized", {"attempt": 1, "ok": True, "rate": 0.5, "by": "card", "parts": ["a", "b"]}, 1795420800000000001)
            pay._add_event("nothing more to say")
        for index in range(event.get("many", 0)):
            with tracer.trace("shop.item", resource=f"item {index}") as item:
                item.set_metric("index", index)
    with tracer.trace("HTTP Request-é", service="Shop With Blanks", resource=""):
        pass  # names that an agent has to normalise


def metrics(event):
    """Metrics of datadog-lambda, with and without timestamp."""
    tags = ["kind:lambda", "odd:ü b,c"]
    for value in (3, 2.5, -1):
        lambda_metric("py.lambda", value, tags=tags)
    now = int(time.time())
    lambda_metric("py.lambda.at", 7, timestamp=now - 600, tags=["at:seconds"])
    lambda_metric("py.lambda.at", 8, timestamp=datetime.now(timezone.utc) - timedelta(hours=1), tags=["at:datetime"])
    lambda_metric("py.lambda.old", 9, timestamp=now - 5 * 3600)
    return {"now": now}


def statsd(event):
    """Every method of the client of `datadog`, first unbuffered, then buffered, then with many samples."""
    client = DogStatsd(host="127.0.0.1", port=8125, constant_tags=["client:datadog"])
    client.increment("py.count", 2, tags=["a:b"])
    client.increment("py.count", 3, tags=["a:b"])
    client.decrement("py.count", 1, tags=["a:b"])
    client.gauge("py.gauge", 1.5)
    client.gauge("py.gauge", 2.5)
    client.histogram("py.histogram", 10)
    client.histogram("py.histogram", 30)
    client.timing("py.timing", 250)
    with client.timed("py.timed"):
        pass
    client.distribution("py.distribution", 4.25)
    client.set("py.set", "alice")
    client.set("py.set", "bob")
    client.set("py.set", "alice")
    now = int(time.time())
    client.count_with_timestamp("py.count.at", 5, now - 120)
    client.gauge_with_timestamp("py.gauge.at", 6.5, now - 240)
    client.event("title ü", "text\nof two lines", alert_type="error", tags=["e:1"], aggregation_key="key", priority="low")
    client.service_check("py.check", 1, tags=["s:1"], message="not\nso well", hostname="")
    client.flush()
    with DogStatsd(host="127.0.0.1", port=8125, disable_buffering=False) as buffered:
        for index in range(event["samples"]):
            buffered.increment("py.buffered", 1)
            buffered.distribution("py.buffered.distribution", index)
    return {"now": now}


def lines(event):
    """Lines by print and by logging, with an exception that is caught, and one that is not."""
    print("printed")
    print("printed\twith ünïcode \U0001f600 and \"quotes\"")
    logger = logging.getLogger("shop")
    logger.setLevel(logging.INFO)
    logger.info("an info line")
    logger.warning("a warning of %s", "two\nlines")
    logger.error("an error line", extra={"order": 7})
    try:
        {}["missing"]
    except KeyError:
        logger.exception("caught")
    print(json.dumps({"level": "WARN", "message": "structured"}))
    if event.get("raise"):
        raise LookupError("order 7 is lost")


def agent(event):
    """What ddtrace learns from the agent."""
    return {"info": ddtrace_agent.info()}


def llm(event):
    """A span of LLM Observability, whose content travels in a structure of the span, and an evaluation of it."""
    with LLMObs.workflow(name="answer") as span:
        LLMObs.annotate(span=span, input_data="what is in stock?", output_data="nothing", tags={"order": "7"})
        exported = LLMObs.export_span(span)
    LLMObs.submit_evaluation(span=exported, ml_app="shop", label="quality", metric_type="score", value=0.5)
    LLMObs.flush()


def profile(event):
    """A profile, which is uploaded when the profiler stops; otherwise that takes a minute."""
    sum(index * index for index in range(300_000))
    Profiler._active_instance.stop(flush=True)


def streams(event):
    """Checkpoints of Data Streams Monitoring, sent as the processor's timer would."""
    carrier = {}
    set_produce_checkpoint("kafka", "orders", carrier.__setitem__)
    set_consume_checkpoint("kafka", "orders", carrier.get)
    data_streams_processor().periodic()


def telemetry(event):
    """What the library reports of itself."""
    telemetry_writer.periodic(force_flush=True)


def replay(event):
    """An exception with the values of its variables, sent as the uploader's timer would."""
    try:
        with tracer.trace("shop.replay", resource="replay"):
            stock = "none left"
            raise LookupError(stock)
    except LookupError:
        SignalUploader._instance.periodic()


def settings(event):
    """Whether remote configuration would poll, and what asking for it does."""
    enabled = remoteconfig_poller.enable()
    remoteconfig_poller.periodic()
    return {"enabled": enabled}


def statements(event):
    """SQL through the integration of the standard library's database, in spans of its own."""
    cursor = sqlite3.connect(":memory:").cursor()
    cursor.execute("CREATE TABLE orders (id INTEGER, name TEXT)")
    cursor.execute("INSERT INTO orders VALUES (7, 'alice'), (8, 'bob')")
    cursor.execute("SELECT name FROM orders WHERE id = 7 AND name IN ('alice', 'carol') -- 4111111111111111")
    try:
        cursor.execute("SELECT secret FROM nowhere WHERE card = '4111111111111111'")
    except sqlite3.OperationalError:
        pass  # recorded by the integration


class Obliging(socketserver.StreamRequestHandler):
    """A Redis to which everything is fine."""

    def handle(self):
        while line := self.rfile.readline():
            for _ in range(int(line[1:])):
                self.rfile.read(int(self.rfile.readline()[1:]) + 2)
            self.wfile.write(b"+OK\r\n")


def commands(event):
    """Commands of Redis through the integration of its client, one by one and in a pipeline."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Obliging) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with redis.Redis(port=server.server_address[1]) as client:
            client.set("customer:7", "alice")
            client.execute_command("AUTH", "secret")
            client.pipeline(transaction=False).set("a", "1").get("b").execute()
        server.shutdown()


def calls(event):
    """A call of the extension through the integration of an HTTP client, which is no span of the function's, and one of a
    server with a password in its address, by hand, since the integration would leave that out."""
    requests.get("http://127.0.0.1:8124/lambda/hello")
    with tracer.trace("shop.call", resource="GET /accounts", span_type="http") as call:
        call.set_tag("http.url", "HTTP://alice:secret@bank.test/%61ccounts/7?token=1")


def handler(event, context):
    result = {}
    for action in event["do"]:
        result[action] = globals()[action](event)
    return result
