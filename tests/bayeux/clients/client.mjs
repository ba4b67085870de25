// An unmodified Bayeux client in a process of its own. It does what it is told on standard input and says on standard
// output what happens to it, a JSON line each.
// usage: node client.mjs KIND URL
// KIND is cometd or faye, a transport (websocket, long-polling), and for cometd perhaps ack: `cometd-websocket-ack`.
//
// commands: {"do": "subscribe", "channel"}, {"do": "publish", "channel", "data"}, {"do": "disconnect"}
// events: connected (with `client`, a name for the session), answered (its connect), broken, subscribed, message,
//   published, disconnected

import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';

const [kind, url] = process.argv.slice(2);
const [library, ...options] = kind.split('-');
const transport = options[0] === 'websocket' ? 'websocket' : 'long-polling';

const say = (event, about = {}) => process.stdout.write(JSON.stringify({ event, ...about }) + '\n');
// A client id is a secret; the tests only want to know whether it stays the same.
const named = (clientId) => createHash('sha256').update(clientId).digest('hex').slice(0, 12);

const makers = { cometd, faye };
const client = await makers[library]();
client.connect();
createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  client[command.do](command);
});

async function cometd() {
  const { adapt } = await import('cometd-nodejs-client');
  adapt();
  const { AckExtension, CometD, TimeSyncExtension } = await load();
  const client = new CometD();
  client.configure({ url, logLevel: 'warn', backoffIncrement: 100, maxBackoff: 500, maxNetworkDelay: 5_000 });
  for (const other of client.getTransportTypes()) if (other !== transport) client.unregisterTransport(other);
  if (options.includes('ack')) client.registerExtension('ack', new AckExtension());
  client.registerExtension('timesync', new TimeSyncExtension());
  client.addListener('/meta/handshake', (reply) => {
    if (reply.successful) say('connected', { client: named(reply.clientId) });
  });
  client.addListener('/meta/connect', (reply) => {
    say(reply.successful ? 'answered' : 'broken');
  });
  client.addListener('/meta/disconnect', () => say('disconnected'));
  return {
    connect: () => client.handshake(),
    subscribe: ({ channel }) =>
      client.subscribe(channel, (message) => say('message', { data: message.data }), (reply) => {
        say('subscribed', { successful: reply.successful });
      }),
    publish: ({ channel, data }) =>
      client.publish(channel, data, (reply) => say('published', { data, successful: reply.successful })),
    disconnect: () => client.disconnect(),
  };
}

async function load() {
  const [main, ack, timesync] = await Promise.all([
    import('cometd'),
    import('cometd/AckExtension.js'),
    import('cometd/TimeSyncExtension.js'),
  ]);
  return { ...main, ...ack, ...timesync };
}

async function faye() {
  const { default: faye } = await import('faye');
  const client = new faye.Client(url, { retry: 0.2, timeout: 30 });
  if (transport !== 'websocket') client.disable('websocket');
  client.addExtension({
    incoming: (message, callback) => {
      if (message.channel === '/meta/handshake' && message.successful) say('connected', { client: named(message.clientId) });
      if (message.channel === '/meta/connect' && message.successful) say('answered');
      if (message.channel === '/meta/disconnect' && message.successful) say('disconnected');
      callback(message);
    },
  });
  client.on('transport:down', () => say('broken'));
  return {
    connect: () => client.connect(),
    subscribe: ({ channel }) =>
      client.subscribe(channel, (data) => say('message', { data })).then(
        () => say('subscribed', { successful: true }),
        () => say('subscribed', { successful: false }),
      ),
    publish: ({ channel, data }) =>
      client.publish(channel, data).then(
        () => say('published', { data, successful: true }),
        () => say('published', { data, successful: false }),
      ),
    disconnect: () => client.disconnect(),
  };
}
