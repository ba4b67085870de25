// Puts what is waiting into frames. The frame is what costs on both sides, not what is in it.
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** Something that goes out in a frame: the encoded element of the frame's one repeated field. */
export interface FrameItem {
  readonly bytes: Uint8Array;
}

/** Frames are split at about this many bytes; one item may be larger. */
const FRAME_BYTES = 1_000_000;
/** Room for a few words of framing around each item. */
const ITEM_OVERHEAD = 8;
const DEFAULT_MAX_ITEMS = 1_000;
/** Field 1, length-delimited: both streams' requests hold their items there. */
const ITEMS_TAG = (1 << 3) | 2;

/** Encodes a frame, which is a message whose only field is the repeated field 1. */
export function encodeFrame(items: readonly FrameItem[]): Buffer {
  const writer = new BinaryWriter();
  for (const { bytes } of items) writer.uint32(ITEMS_TAG).bytes(bytes);
  return Buffer.from(writer.finish());
}

/**
 * Gathers items into the next frame: whatever collected while the last write was under way, without any timer. What
 * waits is bounded by its users.
 */
export class FrameWriter<T extends FrameItem> {
  /** How many items a frame may hold. */
  maxItems = DEFAULT_MAX_ITEMS;
  /** The item that was added last, whether or not it has gone out. */
  last: T | undefined;
  private waiting = new Set<T>();
  private call: ClientDuplexStream<readonly T[], unknown> | undefined;
  private isBusy = false;
  private readonly whenIdle: (() => void)[] = [];

  /** @param taken called with the items that go out, just before they do. */
  constructor(private readonly taken: (items: readonly T[]) => void = () => undefined) {}

  /** How many items wait. */
  get size(): number {
    return this.waiting.size;
  }

  /** Adds an item behind all others. */
  push(item: T): void {
    this.waiting.add(item);
    this.last = item;
    this.schedule();
  }

  /** Takes an item back; does nothing if it has gone out. */
  withdraw(item: T): void {
    this.waiting.delete(item);
  }

  /** Puts items before all others, to be sent again. */
  pushFirst(items: readonly T[]): void {
    this.waiting = new Set([...items, ...this.waiting]);
    this.schedule();
  }

  /** Takes back everything that waits. */
  drain(): T[] {
    const items = [...this.waiting];
    this.waiting.clear();
    return items;
  }

  /** Begins to write to this stream. */
  writeTo(call: ClientDuplexStream<readonly T[], unknown>): void {
    this.call = call;
    this.isBusy = false;
    this.schedule();
  }

  /** Stops writing; items wait from now on. */
  stop(): void {
    this.call = undefined;
    this.tellIdle();
  }

  /** Says that nothing more will come on this stream; items wait from now on. */
  hangUp(): void {
    this.call?.end();
    this.stop();
  }

  /** Waits until everything that waits has gone out, or the stream has gone. */
  async idle(): Promise<void> {
    if (this.call && this.isBusy) await new Promise<void>((resolve) => this.whenIdle.push(resolve));
  }

  private tellIdle(): void {
    for (const resolve of this.whenIdle.splice(0)) resolve();
  }

  private schedule(): void {
    if (this.isBusy || !this.call) return;
    this.isBusy = true;
    // What the rest of this turn adds goes into the same frame.
    setImmediate(() => this.write());
  }

  private write(): void {
    const { call } = this;
    if (!call) return;
    if (this.waiting.size === 0) {
      this.isBusy = false;
      return this.tellIdle();
    }
    const items = this.take();
    this.taken(items);
    call.write(items, () => {
      if (this.call === call) this.write();
    });
  }

  private take(): readonly T[] {
    const items: T[] = [];
    let size = 0;
    for (const item of this.waiting) {
      size += item.bytes.length + ITEM_OVERHEAD;
      if (items.length > 0 && (size > FRAME_BYTES || items.length >= this.maxItems)) break;
      items.push(item);
      this.waiting.delete(item);
    }
    return items;
  }
}
