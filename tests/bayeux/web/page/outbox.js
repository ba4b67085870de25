// What a person has said and no server has answered yet. One message at a time, so that their order holds; said again
// until it is answered, which does no harm, for each has an id.

const PAUSE = 1_000;

export class Outbox {
  #send;
  #waiting = [];
  #sending = false;
  #again = false;
  #timer;

  // send: sends one message; its promise is rejected with `refused` set if it makes no sense to try again.
  constructor(send) {
    this.#send = send;
  }

  add(message) {
    this.#waiting.push(message);
    this.flush();
  }

  // Try now: there is something new, or the connection is back.
  async flush() {
    clearTimeout(this.#timer);
    this.#again = true;
    if (this.#sending) return;
    this.#sending = true;
    while (this.#again) {
      this.#again = false;
      await this.#sendAll();
    }
    this.#sending = false;
    if (this.#waiting.length) this.#timer = setTimeout(() => this.flush(), PAUSE);
  }

  async #sendAll() {
    while (this.#waiting.length) {
      try {
        await this.#send(this.#waiting[0]);
      } catch (error) {
        if (!error.refused) return;
      }
      this.#waiting.shift();
    }
  }
}
