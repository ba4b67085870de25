// First in, first out.

const COMPACT_AT = 1_024;

/** A queue whose `shift` does not move the rest each time, as a long array's does. */
export class Fifo<T> {
  private items: T[] = [];
  private head = 0;

  /** How many items are in it. */
  get size(): number {
    return this.items.length - this.head;
  }

  /** The next item to go. */
  get first(): T | undefined {
    return this.items[this.head];
  }

  /** Adds items at the end. */
  push(...items: readonly T[]): void {
    this.items.push(...items);
  }

  /** Takes the first item. */
  shift(): T | undefined {
    const item = this.items[this.head];
    if (this.head < this.items.length) this.head += 1;
    if (this.head >= COMPACT_AT && this.head * 2 >= this.items.length) this.compact();
    return item;
  }

  /** Takes all items. */
  drain(): T[] {
    const items = this.items.slice(this.head);
    this.items = [];
    this.head = 0;
    return items;
  }

  private compact(): void {
    this.items = this.items.slice(this.head);
    this.head = 0;
  }
}
