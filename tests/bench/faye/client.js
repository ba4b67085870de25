'use strict';

// A Bayeux client on a WebSocket: the protocol as Faye's own client speaks it, without its retries.

const { Socket } = require('./socket');

class Client {
  /** @param port the Faye server's @param onData is called with the data of each message that is published */
  constructor(port, onData) {
    this.onData = onData;
    this.socket = new Socket(port, (text) => this.take(JSON.parse(text)));
    this.replies = new Map();
    this.id = 0;
  }

  async start() {
    await this.socket.open;
    const offer = { version: '1.0', supportedConnectionTypes: ['websocket'] };
    this.clientId = (await this.ask('/meta/handshake', offer)).clientId;
    return this;
  }

  async subscribe(channel) {
    await this.ask('/meta/subscribe', { subscription: channel });
    this.connect();
  }

  /** Sends a message; the answer is not waited for, but has to be a success. */
  publish(channel, data) {
    this.send(channel, { data });
  }

  /** Fulfilled when the session is over. */
  async end() {
    this.isEnding = true;
    this.socket.mayClose = true;
    await Promise.race([this.ask('/meta/disconnect', {}), this.socket.closed]);
  }

  connect() {
    // At the end of a session the last connect is answered too.
    this.ask('/meta/connect', { connectionType: 'websocket' }).then(() => this.isEnding || this.connect());
  }

  ask(channel, members) {
    const id = this.send(channel, members);
    return new Promise((resolve) => this.replies.set(id, resolve));
  }

  send(channel, members) {
    const id = (++this.id).toString(36);
    this.socket.send(JSON.stringify([{ channel, clientId: this.clientId, id, ...members }]));
    return id;
  }

  take(messages) {
    for (const message of messages) {
      if (message.successful === undefined) this.onData(message.data);
      else if (!message.successful) throw new Error(`${message.channel} was refused: ${message.error}`);
      else this.answer(message);
    }
  }

  answer(message) {
    const resolve = this.replies.get(message.id);
    if (!resolve) return;
    this.replies.delete(message.id);
    resolve(message);
  }
}

exports.Client = Client;
