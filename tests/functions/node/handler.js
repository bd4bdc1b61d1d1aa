// A Node function that uses every way of Datadog's libraries to the extension: dd-trace, datadog-lambda-js and hot-shots.
"use strict";

const StatsD = require("hot-shots");
const tracer = require("dd-trace");
const { sendDistributionMetric } = require("datadog-lambda-js");

const statsd = new StatsD({ host: "127.0.0.1", port: 8125 });
const sent = (send) => new Promise((resolve) => send(resolve));

exports.handler = async (event) => {
  console.log(`order ${event.order} received`);
  sendDistributionMetric("node.amount", 12.5, `order:${event.order}`);
  await sent((done) => statsd.increment("node.orders", 2, 1, ["kind:node"], done));
  await sent((done) => statsd.gauge("node.stock", 7, 1, ["kind:node"], done));
  await sent((done) => statsd.histogram("node.size", 3, 1, ["kind:node"], done));
  await sent((done) => statsd.set("node.customers", "alice", 1, ["kind:node"], done));
  await tracer.trace("node.checkout", { service: "node", resource: "checkout" }, async () => {
    await tracer.trace("node.validate", { service: "node" }, async () => {
      if (event.fail) throw new RangeError("no such order");
    });
  });
  return { order: event.order };
};
