// CometD's acknowledgements for Faye's client, by its own extension interface: each connect confirms what has come, and
// the server sends again what was not confirmed.

export class FayeAcknowledgements {
  #served = false;
  #batch = 0;

  outgoing(message, pass) {
    if (message.channel === '/meta/handshake') {
      this.#served = false;
      this.#batch = 0;
      message.ext = { ...message.ext, ack: true };
    } else if (message.channel === '/meta/connect' && this.#served) {
      message.ext = { ...message.ext, ack: this.#batch };
    }
    pass(message);
  }

  incoming(message, pass) {
    const { channel, successful, ext } = message;
    if (channel === '/meta/handshake' && successful) this.#served = ext?.ack === true;
    if (channel === '/meta/connect' && successful && typeof ext?.ack === 'number') this.#batch = ext.ack;
    pass(message);
  }
}
