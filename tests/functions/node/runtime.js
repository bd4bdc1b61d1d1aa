// A small Lambda runtime for the lab: takes invocations from the Runtime API and calls the entry point of
// datadog-lambda-js, which starts the tracer and calls DD_LAMBDA_HANDLER. It has no timeouts and runs one invocation at a
// time.
"use strict";

const http = require("http");
const path = require("path");

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const base = "/2018-06-01/runtime";

function call(method, target, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path: target, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function main() {
  const entry = path.join(path.dirname(require.resolve("datadog-lambda-js")), "handler.mjs");
  const { handler } = await import(entry);
  for (;;) {
    const { headers, body } = await call("GET", `${base}/invocation/next`);
    const id = headers["lambda-runtime-aws-request-id"];
    process.env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"];
    const context = {
      awsRequestId: id,
      invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
      functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
      functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
      memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      getRemainingTimeInMillis: () => Number(headers["lambda-runtime-deadline-ms"]) - Date.now(),
    };
    try {
      const result = await handler(JSON.parse(body), context);
      await call("POST", `${base}/invocation/${id}/response`, JSON.stringify(result ?? null));
    } catch (error) {
      const report = { errorType: error.name, errorMessage: error.message, trace: String(error.stack).split("\n") };
      await call("POST", `${base}/invocation/${id}/error`, JSON.stringify(report));
    }
  }
}

main();
