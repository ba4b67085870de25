// First in, first out.

/** A queue whose `shift` does not move the rest each time, as a long array's does, and which keeps nothing that has left. */
export class Fifo<T> {
  private arrived: T[] = [];
  /** Turned round, so that the next item to go is the last one here. */
  private leaving: T[] = [];

  /** How many items are in it. */
  get size(): number {
    return this.arrived.length + this.leaving.length;
  }

  /** The next item to go. */
  get first(): T | undefined {
    this.turnRound();
    return this.leaving.at(-1);
  }

  /** Adds items at the end. */
  push(...items: readonly T[]): void {
    this.arrived.push(...items);
  }

  /** Takes the first item. */
  shift(): T | undefined {
    this.turnRound();
    return this.leaving.pop();
  }

  /** Takes all items. */
  drain(): T[] {
    const items = [...this.leaving.reverse(), ...this.arrived];
    this.leaving = [];
    this.arrived = [];
    return items;
  }

  private turnRound(): void {
    if (this.leaving.length > 0) return;
    this.leaving = this.arrived.reverse();
    this.arrived = [];
  }
}
