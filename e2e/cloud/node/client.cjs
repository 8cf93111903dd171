// Makes calls with the vendor's SDK. Standard input is a list of calls in JSON, standard
// output the list of what came of them: the bodies of all pages, or the error.
"use strict";

const { readFileSync } = require("node:fs");
const core = require("@alicloud/openapi-core");
const { RuntimeOptions } = require("@darabonba/typescript");

// once makes one call. The parameters go into the query or, for Quota Center, into the
// body.
async function once(client, call, parameters) {
  const options = call.form
    ? { body: core.OpenApiUtil.parseToMap(parameters) }
    : { query: core.OpenApiUtil.query(parameters) };
  const answer = await client.callApi(
    new core.$OpenApiUtil.Params({
      action: call.action,
      version: call.version,
      protocol: "HTTP",
      pathname: "/",
      method: "POST",
      authType: "AK",
      style: "RPC",
      reqBodyType: "formData",
      bodyType: "json",
    }),
    new core.$OpenApiUtil.OpenApiRequest(options),
    new RuntimeOptions({}),
  );
  return answer.body;
}

// all makes a call for each page.
async function all(client, call) {
  const bodies = [];
  for (let parameters = call.parameters; parameters; ) {
    const body = await once(client, call, parameters);
    bodies.push(body);
    parameters = next(call.parameters, body);
  }
  return bodies;
}

// next are the parameters of the next page, if there is one.
function next(parameters, body) {
  if (body.NextToken) {
    return { ...parameters, NextToken: body.NextToken };
  }
  if (parameters.PageNumber && body.PageNumber * body.PageSize < body.TotalCount) {
    return { ...parameters, PageNumber: body.PageNumber + 1 };
  }
  return undefined;
}

async function outcome(call) {
  const config = new core.$OpenApiUtil.Config({
    accessKeyId: call.id,
    accessKeySecret: call.secret,
    endpoint: call.host,
    protocol: "http",
  });
  if (call.token) {
    config.securityToken = call.token;
  }
  try {
    return { pages: await all(new core.default(config), call) };
  } catch (error) {
    return {
      error: error.name,
      code: error.code,
      status: error.statusCode,
      action: error.accessDeniedDetail?.AuthAction,
      request: error.requestId,
    };
  }
}

async function main() {
  const outcomes = [];
  for (const call of JSON.parse(readFileSync(0, "utf8"))) {
    outcomes.push(await outcome(call));
  }
  process.stdout.write(JSON.stringify(outcomes));
}

main();
