// The function of the tests `node::*` in tests/clients: uses Datadog's libraries as the event says, and keeps a record of
// every span that the tracer hands to its exporter, so that a test can compare what was made with what arrived.
"use strict";

const fs = require("fs");
const http = require("http");
const StatsD = require("hot-shots");
const tracer = require("dd-trace");
const { fetchAgentInfo } = require("dd-trace/packages/dd-trace/src/agent/info");
const { profiler } = require("dd-trace/packages/dd-trace/src/profiling");
const { sendDistributionMetric, sendDistributionMetricWithDate } = require("datadog-lambda-js");

const RECORD = "/tmp/spans.jsonl";

function recordSpans() {
  const exporter = tracer._tracer._exporter;
  const send = exporter.export;
  exporter.export = function (spans) {
    for (const span of spans) fs.appendFileSync(RECORD, described(span) + "\n");
    return send.call(this, spans);
  };
}

// The span as the intake's decoder names its parts. Ids and times are put in as text, since they exceed a double.
function described(span) {
  const id = (it) => it.toString(10);
  const rest = JSON.stringify({
    name: span.name,
    service: span.service,
    resource: span.resource,
    kind: span.type ?? "",
    error: span.error,
    meta: span.meta,
    metrics: Object.fromEntries(Object.entries(span.metrics).map(([key, value]) => [key, String(value)])),
    meta_struct: span.meta_struct ?? {},
    links: [], // the tracer has them in a tag
    events: (span.span_events ?? []).map((event) => ({
      name: event.name,
      time: Math.round(event.startTime * 1e6),
      attributes: event.attributes ?? {},
    })),
  });
  const numbers = {
    trace_id: BigInt.asUintN(64, BigInt(id(span.trace_id))),
    span_id: id(span.span_id),
    parent_id: id(span.parent_id),
    start: BigInt(Math.round(span.start)),
    duration: BigInt(Math.round(span.duration)),
  };
  const first = Object.entries(numbers).map(([name, value]) => `"${name}":${value}`);
  return `{${first.join(",")},${rest.slice(1)}`;
}

// Waits until the library has read what the agent says of itself, without which it keeps what is for LLM Observability.
async function agentIsKnown() {
  const noRequest = (body, options, done) => done(new Error("not read yet"));
  const ask = (done) => fetchAgentInfo(tracer._tracer._url, (error) => done(!error), {}, noRequest);
  while (!(await new Promise(ask))) await new Promise(setImmediate);
}

recordSpans();
console.log("printed while loading");

const actions = {
  async spans(event) {
    const options = { service: "shop", resource: "order 7", type: "worker" };
    await tracer.trace("shop.order", options, async (order) => {
      order.addTags({ text: "ünïcode \u{1f600}", empty: "", long: "x".repeat(6000), amount: 12.75, count: -3, yes: true });
      await tracer.trace("shop.validate", async () => {
        await tracer
          .trace("shop.check", { resource: "check stock" }, async () => {
            throw new RangeError("no stock");
          })
          .catch(() => undefined);
      });
      await tracer.trace("shop.pay", { service: "payments", type: "http" }, async (pay) => {
        pay.addTags({ "http.method": "POST", "http.status_code": 201 });
        pay.addLink({ context: order.context(), attributes: { why: "paid", n: 2 } });
        pay.addEvent("authorized", { attempt: 1, ok: true, rate: 0.5, by: "card", parts: ["a", "b"] }, 1795420800000);
        pay.addEvent("nothing more to say", 1795420800004); // a time whose nanoseconds are exact
      });
      for (let index = 0; index < (event.many ?? 0); index++) {
        tracer.trace("shop.item", { resource: `item ${index}` }, (item) => item.setTag("index", index));
      }
    });
  },

  async metrics() {
    sendDistributionMetric("js.lambda", 3, "kind:lambda", "odd:ü b,c");
    sendDistributionMetric("js.lambda", 2.5, "kind:lambda", "odd:ü b,c");
    sendDistributionMetric("js.lambda.empty", 1, "first:1", "", "last:1");
    sendDistributionMetricWithDate("js.lambda.at", 7, new Date(Date.now() - 600_000), "at:date");
    return { now: Math.floor(Date.now() / 1000) };
  },

  async statsd(event) {
    const statsd = new StatsD({
      host: "127.0.0.1",
      port: 8125,
      globalTags: ["client:hot-shots"],
      datadog: true, // |c:, |e: and |card: in every line
      cardinality: "low",
    });
    statsd.containerID ??= "in-6800"; // found only where there are control groups
    statsd.externalData ??= "it-false,cn-shop,pu-1";
    const sent = (send) => new Promise((resolve, reject) => send((error) => (error ? reject(error) : resolve())));
    await sent((done) => statsd.increment("js.count", 2, ["a:b"], done));
    await sent((done) => statsd.increment("js.count", 3, ["a:b"], done));
    await sent((done) => statsd.decrement("js.count", 1, ["a:b"], done));
    await sent((done) => statsd.gauge("js.gauge", 1.5, done));
    await sent((done) => statsd.gauge("js.gauge", 2.5, done));
    await sent((done) => statsd.histogram("js.histogram", 10, done));
    await sent((done) => statsd.histogram("js.histogram", 30, done));
    await sent((done) => statsd.timing("js.timing", 250, done));
    await sent((done) => statsd.distribution("js.distribution", 4.25, done));
    await sent((done) => statsd.set("js.set", "alice", done));
    await sent((done) => statsd.set("js.set", "bob", done));
    const details = { alert_type: "error", aggregation_key: "key", priority: "low" };
    await sent((done) => statsd.event("title ü", "text\nof two lines", details, ["e:1"], done));
    await sent((done) => statsd.check("js.check", statsd.CHECKS.WARNING, { message: "not so well" }, ["s:1"], done));
    await sent((done) => statsd.close(done));
    const buffered = new StatsD({ host: "127.0.0.1", port: 8125, maxBufferSize: 1400 });
    for (let index = 0; index < event.samples; index++) {
      buffered.increment("js.buffered");
      buffered.distribution("js.buffered.distribution", index);
    }
    await sent((done) => buffered.close(done));
  },

  async lines(event) {
    console.log("printed");
    console.log('printed\twith ünïcode \u{1f600} and "quotes"');
    console.error("an error\nof two lines");
    console.log(JSON.stringify({ level: "warn", message: "structured" }));
    if (event.raise) throw new RangeError("order 7 is lost");
  },

  // A profile, which is uploaded when the profiler stops; otherwise that takes a minute.
  async profile() {
    const stopped = new Promise((resolve) => profiler.once("stopped", resolve));
    profiler.stop();
    await stopped;
  },

  // Checkpoints of Data Streams Monitoring, which are sent at once in Lambda.
  async streams() {
    const carrier = {};
    tracer.dataStreamsCheckpointer.setProduceCheckpoint("kafka", "orders", carrier);
    tracer.dataStreamsCheckpointer.setConsumeCheckpoint("kafka", "orders", carrier);
  },

  // The stats that the library computes of its spans.
  async stats() {
    await new Promise((resolve) => tracer._tracer.flushAll(resolve));
  },

  // A span of LLM Observability and an evaluation of it.
  async llm() {
    const { llmobs } = tracer;
    await agentIsKnown();
    const exported = llmobs.trace({ kind: "workflow", name: "answer" }, (span) => {
      llmobs.annotate(span, { inputData: "what is in stock?", outputData: "nothing", tags: { order: "7" } });
      return llmobs.exportSpan(span);
    });
    llmobs.submitEvaluation(exported, { mlApp: "shop", label: "quality", metricType: "score", value: 0.5 });
    llmobs.flush();
  },

  // Many requests at once over kept connections, as a busy tracer makes them.
  async connections(event) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: event.sockets });
    const statuses = {};
    const post = () =>
      new Promise((resolve, reject) => {
        const request = http.request(
          {
            host: "127.0.0.1",
            port: 8126,
            path: "/v0.4/traces",
            method: "PUT",
            agent,
            headers: { "Content-Type": "application/msgpack" },
          },
          (response) => {
            const parts = [];
            response.on("data", (part) => parts.push(part));
            response.on("end", () => {
              JSON.parse(Buffer.concat(parts)).rate_by_service;
              statuses[response.statusCode] = (statuses[response.statusCode] ?? 0) + 1;
              resolve();
            });
          },
        );
        request.on("error", reject);
        request.end(Buffer.from([0x90])); // no traces
      });
    for (let round = 0; round < event.rounds; round++) {
      await Promise.all(Array.from({ length: event.sockets }, post));
    }
    agent.destroy();
    return statuses;
  },
};

exports.handler = async (event) => {
  const result = {};
  for (const action of event.do) result[action] = (await actions[action](event)) ?? null;
  return result;
};
