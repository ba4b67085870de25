// The messages of a room in the room's order, each once, whether they came by themselves or with the history.

export class Conversation {
  #messages = [];
  #known = new Set();
  #complete = false;
  // How many messages only the history brought, though the page had been there all the time.
  filled = 0;
  // How many messages came again.
  repeated = 0;

  // A message came. Returns whether it is new.
  add(message) {
    if (this.#known.has(message.id)) {
      this.repeated += 1;
      return false;
    }
    this.#known.add(message.id);
    this.#messages.push(message);
    return true;
  }

  // The history came: put in what is missing, each after its predecessor there. Returns the new messages, each with the
  // message that it stands before (undefined: at the end).
  merge(history) {
    const added = [];
    let place = 0;
    for (const message of history) {
      if (this.#known.has(message.id)) {
        place = this.#messages.findIndex((one) => one.id === message.id) + 1;
        continue;
      }
      this.#known.add(message.id);
      added.push([message, this.#messages[place]]);
      this.#messages.splice(place++, 0, message);
    }
    if (this.#complete) this.filled += added.length;
    this.#complete = true;
    return added;
  }
}
