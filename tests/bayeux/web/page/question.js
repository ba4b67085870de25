// Something that the page wants to know, asked until it is answered. A newer question makes the answers to older ones
// worthless: they may be of a time before the change that made us ask.

const PATIENCE = 5_000;

export class Question {
  #send;
  #number = 0;
  #timer;

  // send: sends the question's number; the answer has to come with it.
  constructor(send) {
    this.#send = send;
  }

  ask() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ask(), PATIENCE);
    this.#send(++this.#number).catch(() => {});
  }

  // Whether this is the answer to the newest question, which then is answered.
  isAnsweredBy({ asked }) {
    if (asked !== this.#number) return false;
    clearTimeout(this.#timer);
    return true;
  }
}
