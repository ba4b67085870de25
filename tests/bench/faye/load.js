'use strict';

// Subscribers and a publisher, on Faye servers. usage: node load.js SUBSCRIBERS PORT [PORT ...]
// It says {"ready": true}, and then answers each line of standard input with one:
//   {"messages": N, "window": W}  N messages, at most W under way: not yet with all subscribers -> {"seconds"}
//   {"messages": N, "rate": R}    N messages, R a second -> {"percentiles": [[50, ms], ...]}
//   {"end": true}                 all clients disconnect, so that no store goes on to serve them -> {"ended": true}
// Every delivery has to be its subscriber's next message; if one is not, it says {"problem"}.

const readline = require('node:readline');
const { Client } = require('./client');

const BYTES = 200;
const DIGITS = 10;
const CHANNEL = '/bench';
const PERCENTILES = [50, 75, 90, 95, 99, 99.9, 100];

const [count, ...ports] = process.argv.slice(2).map(Number);
const filler = 'x'.repeat(BYTES - DIGITS - 2);
// One clock for publisher and subscribers, for they are one process.
const now = () => performance.now();

const next = new Array(count).fill(0);
let publisher;
let arrived = new Map();
let published = 0;
let run;

function got(subscriber, data) {
  const number = Number(data.slice(0, DIGITS));
  if (number !== next[subscriber] || data.length !== BYTES - 2) {
    console.log(JSON.stringify({ problem: `subscriber ${subscriber} got message ${number} instead of ${next[subscriber]}` }));
    process.exit(1);
  }
  next[subscriber] += 1;
  run.got(number);
  const soFar = (arrived.get(number) ?? 0) + 1;
  if (soFar < count) {
    arrived.set(number, soFar);
    return;
  }
  arrived.delete(number);
  run.done(number);
}

const publish = () => publisher.publish(CHANNEL, String(published++).padStart(DIGITS, '0') + filler);

/** So many messages under way at once. */
function fanout({ messages, window }) {
  const first = published;
  const begun = now();
  return new Promise((resolve) => {
    run = {
      got() {},
      done(number) {
        if (published < first + messages) publish();
        if (number === first + messages - 1) resolve({ seconds: (now() - begun) / 1000 });
      },
    };
    for (let i = 0; i < Math.min(window, messages); i++) publish();
  });
}

/** So many messages a second, whatever becomes of them. */
function steady({ messages, rate }) {
  const first = published;
  const begun = now();
  const due = (number) => begun + ((number - first) * 1000) / rate;
  const latencies = [];
  return new Promise((resolve) => {
    run = {
      // From when it was due: a publisher that is held up itself must not make latencies look better.
      got: (number) => latencies.push(now() - due(number)),
      done(number) {
        if (number === first + messages - 1) resolve({ percentiles: percentiles(latencies) });
      },
    };
    const timer = setInterval(() => {
      while (published < first + messages && due(published) <= now()) publish();
      if (published === first + messages) clearInterval(timer);
    }, 1);
  });
}

function percentiles(values) {
  const sorted = Float64Array.from(values).sort();
  return PERCENTILES.map((percent) => [percent, sorted[Math.ceil((percent / 100) * sorted.length) - 1]]);
}

async function main() {
  const subscribers = Array.from({ length: count }, (_, i) => new Client(ports[i % ports.length], (data) => got(i, data)));
  await Promise.all(subscribers.map(async (one) => (await one.start()).subscribe(CHANNEL)));
  publisher = await new Client(ports[0], () => {}).start();
  // Or its session would end while the other side is measured.
  publisher.connect();
  console.log(JSON.stringify({ ready: true }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.end) {
      await Promise.all([...subscribers, publisher].map((one) => one.end()));
      console.log(JSON.stringify({ ended: true }));
    } else {
      console.log(JSON.stringify(await (order.rate ? steady(order) : fanout(order))));
    }
  }
  process.exit(0);
}

main();
