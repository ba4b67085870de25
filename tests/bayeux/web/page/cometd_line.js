// CometD's client, with its acknowledgements and its reload extension.

import { AckExtension, CometD, ReloadExtension } from 'cometd';

const PAUSE = 1_000;

export class CometDLine {
  #client = new CometD();
  #options;
  #isUp = false;
  #round = 0;

  // See FayeLine: both take the same options.
  constructor(options) {
    this.#options = options;
    const client = this.#client;
    client.configure({ url: options.url, logLevel: 'warn', backoffIncrement: 250, maxBackoff: 2_000, maxNetworkDelay: 5_000 });
    for (const type of client.getTransportTypes()) if (type !== options.transport) client.unregisterTransport(type);
    client.registerExtension('ack', new AckExtension());
    client.registerExtension('reload', new ReloadExtension({ name: `chat.${options.introduction.chat.name}` }));
    client.addListener('/meta/handshake', (reply) => this.#onHandshake(reply));
    client.addListener('/meta/connect', (reply) => this.#onConnect(reply));
    for (const service of options.services) client.addListener(service, ({ data }) => options.received(service, data));
    addEventListener('pagehide', () => client.reload());
  }

  get clientId() {
    return this.#client.getClientId();
  }

  open() {
    this.#client.handshake({ ext: this.#options.introduction });
  }

  send(channel, data) {
    return new Promise((resolve, reject) => {
      this.#client.publish(channel, data, (reply) => {
        if (reply.successful) resolve();
        else reject(Object.assign(new Error(reply.error ?? 'no connection'), { refused: isFinal(reply.error) }));
      });
    });
  }

  #onHandshake(reply) {
    if (!reply.successful) return;
    this.#isUp = true;
    // Subscriptions end with their session, and a page that was loaded anew has none of its own yet.
    this.#subscribe(reply.ext?.reload ? 'reloaded' : 'new', ++this.#round);
  }

  async #subscribe(session, round) {
    if (round !== this.#round) return;
    this.#client.clearSubscriptions();
    const answers = [];
    this.#client.batch(() => {
      for (const channel of this.#options.channels) answers.push(this.#subscribeTo(channel));
    });
    const successful = (await Promise.all(answers)).every((answer) => answer.successful);
    if (round !== this.#round) return;
    if (successful) this.#options.up(session);
    else setTimeout(() => this.#subscribe(session, round), PAUSE);
  }

  #subscribeTo(channel) {
    return new Promise((resolve) => {
      this.#client.subscribe(channel, ({ data }) => this.#options.received(channel, data), resolve);
    });
  }

  #onConnect(reply) {
    if (this.#client.isDisconnected()) return;
    const before = this.#isUp;
    this.#isUp = reply.successful;
    if (before && !this.#isUp) this.#options.down();
    if (!before && this.#isUp) this.#options.up('same');
  }
}

function isFinal(error) {
  return /^(400|403|413):/.test(error ?? '');
}
