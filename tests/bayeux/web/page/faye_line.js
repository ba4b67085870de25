// Faye's client, as it comes, with acknowledgements.

/* global Faye */

import { FayeAcknowledgements } from './faye_acknowledgements.js';

const PAUSE = 1_000;

export class FayeLine {
  #client;
  #options;
  #subscriptions = [];
  #clientId = null;
  #isDown = false;
  #timer;

  // url: the front-end. introduction: goes with the handshake. channels: to subscribe to. services: those that answer.
  // received(channel, data): a message. up(session): everything can be sent now. The session is 'new' or the 'same', or
  // 'reloaded': that of the page before this one. down(): nothing can be sent.
  constructor(options) {
    this.#options = options;
    this.#client = new Faye.Client(options.url, { retry: 0.25, timeout: 10 });
    this.#client.disable('eventsource');
    if (options.transport !== 'websocket') this.#client.disable('websocket');
    this.#client.addExtension(new FayeAcknowledgements());
    this.#client.addExtension({
      outgoing: (message, pass) => pass(this.#introduced(message)),
      incoming: (message, pass) => {
        pass(message);
        this.#saw(message);
      },
    });
    this.#client.on('transport:down', () => this.#onDown());
    this.#client.on('transport:up', () => this.#onUp());
  }

  get clientId() {
    return this.#clientId;
  }

  // The first channel comes last: when that is answered, all are.
  open() {
    for (const subscription of this.#subscriptions) subscription.cancel();
    const channels = [...this.#options.services, ...this.#options.channels.toReversed()];
    this.#subscriptions = channels.map((channel) =>
      this.#client.subscribe(channel, (data) => this.#options.received(channel, data)),
    );
  }

  send(channel, data) {
    return this.#client.publish(channel, data).then(
      () => {},
      (error) => {
        throw Object.assign(error, { refused: [400, 403, 413].includes(error.code) });
      },
    );
  }

  #introduced(message) {
    if (message.channel === '/meta/handshake') message.ext = { ...message.ext, ...this.#options.introduction };
    return message;
  }

  #saw(message) {
    if (message.channel === '/meta/handshake' && message.successful) this.#clientId = message.clientId;
    // After a new handshake Faye subscribes again to everything, in one message.
    const isLast = [message.subscription].flat().includes(this.#options.channels[0]);
    if (message.channel === '/meta/subscribe' && isLast) this.#onSubscribed(message.successful);
  }

  #onSubscribed(successful) {
    clearTimeout(this.#timer);
    if (successful) this.#options.up('new');
    else this.#timer = setTimeout(() => this.open(), PAUSE);
  }

  #onUp() {
    if (this.#isDown && this.#clientId) this.#options.up('same');
    this.#isDown = false;
  }

  #onDown() {
    this.#isDown = true;
    this.#options.down();
  }
}
