'use strict';

// A front-end whose clients come: handshake, subscribe, attach. usage: node storm.js ENGINE WHERE CLIENTS
// It says {"ready": true}, and answers each line of standard input with one:
//   "come"   all clients come at once -> {"seconds"}
//   "check"  each room gets a message: every client has to get exactly its room's -> {"delivered"}
//   "wait"   the same, but another process sends the messages

const readline = require('node:readline');
const { FrontEnd } = require('pixied-client');

const ROOMS = 100;
const room = (index) => `/storm/room${index % ROOMS}`;
const QUIET_MS = 300;

const [kind, where, clients] = [process.argv[2], process.argv[3], Number(process.argv[4])];

/** On pixied, through its SDK. */
class OnPixied {
  constructor(got) {
    this.got = got;
    this.frontEnd = new FrontEnd({ address: where, name: `storm ${process.pid}`, timeoutMs: 60_000 });
    this.ready = this.frontEnd.generateNamespace();
    this.attachments = [];
  }

  async come(index) {
    const { clientId } = await this.frontEnd.createClient({ sessionTimeoutMs: 90_000 });
    await this.frontEnd.subscribe(clientId, [room(index)]);
    const onMessages = (messages) => messages.forEach(({ data }) => this.got(index, JSON.parse(data)));
    this.attachments.push(this.frontEnd.attach(clientId, {}, { onMessages }));
  }

  /** Fulfilled when pixied has attached them all. */
  async settled() {
    for (const attachment of this.attachments) {
      while (attachment.state === 'attaching') await new Promise(setImmediate);
      if (attachment.state !== 'attached') throw new Error(`a client is ${attachment.state}`);
    }
  }

  publish(channel, data) {
    return this.frontEnd.publish([{ channel, data: JSON.stringify(data) }]);
  }
}

/** On faye-redis, with the calls that a Faye server makes of it: whoever subscribes or connects has to exist. */
class OnRedis {
  constructor(got) {
    this.handlers = new Map();
    const server = {
      timeout: 45,
      generateId: require('faye/src/util/random'),
      hasConnection: (clientId) => this.handlers.has(clientId),
      deliver: (clientId, messages) => this.handlers.get(clientId)(messages),
      debug() {},
      trigger() {},
    };
    this.engine = require('faye-redis').create(server, { socket: where });
    this.got = got;
    this.ready = new Promise((resolve) => this.engine._redis.ping(resolve));
  }

  async come(index) {
    const clientId = await new Promise((resolve) => this.engine.createClient(resolve));
    await this.exists(clientId);
    await new Promise((resolve) => this.engine.subscribe(clientId, room(index), resolve));
    await this.exists(clientId);
    this.engine.ping(clientId);
    // It calls back with what is queued, which is nothing yet; what comes later are messages.
    await new Promise((resolve) => {
      const onMessages = (messages) => messages.forEach(({ data }) => this.got(index, data));
      this.handlers.set(clientId, (messages) => (this.handlers.set(clientId, onMessages), resolve(messages)));
      this.engine.emptyQueue(clientId);
    });
  }

  async exists(clientId) {
    const exists = await new Promise((resolve) => this.engine.clientExists(clientId, resolve));
    if (!exists) throw new Error('a client is unknown');
  }

  async settled() {}

  async publish(channel, data) {
    this.engine.publish({ channel, data }, [channel]);
  }
}

const got = new Array(clients).fill(0);
let delivered = 0;
let told = () => {};

function take(index, data) {
  if (data !== room(index) || ++got[index] > 1) {
    console.log(JSON.stringify({ problem: `client ${index} got ${data}, ${got[index]} times` }));
    process.exit(1);
  }
  delivered += 1;
  told();
}

async function main() {
  const side = new (kind === 'pixied' ? OnPixied : OnRedis)(take);
  await side.ready;
  console.log(JSON.stringify({ ready: true }));
  for await (const order of readline.createInterface({ input: process.stdin })) {
    if (order === 'come') {
      const begun = performance.now();
      await Promise.all(Array.from({ length: clients }, (_, index) => side.come(index)));
      await side.settled();
      console.log(JSON.stringify({ seconds: (performance.now() - begun) / 1000 }));
    } else {
      const all = new Promise((resolve) => (told = () => delivered === clients && resolve()));
      told();
      for (let i = 0; i < ROOMS && order === 'check'; i++) await side.publish(room(i), room(i));
      await all;
      // A copy too many would come a moment later.
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
      console.log(JSON.stringify({ delivered }));
    }
  }
  process.exit(0);
}

main();
