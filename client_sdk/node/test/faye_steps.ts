// Faye's engine behaviours as steps, for any engine.
import assert from 'node:assert/strict';

import Proxy from 'faye/src/engines/proxy';

import type { FayeMessage } from '../src/faye';
import { until, untilEqual } from './until';

/** An event that a Faye server raised. */
export type Raised = readonly [event: string, ...values: unknown[]];

const EVENTS = ['handshake', 'subscribe', 'unsubscribe', 'publish', 'disconnect', 'close'];

/** One Faye server's engine, with clients that are called by names. */
export class Steps {
  readonly events: Raised[] = [];
  readonly inboxes = new Map<string, FayeMessage[]>();
  private readonly ids: Map<string, string>;
  private isOver = false;
  private barriers = 0;

  /** @param other a server whose clients this one shares. */
  constructor(
    readonly engine: Proxy,
    other?: Steps,
  ) {
    this.ids = other?.ids ?? new Map();
    for (const event of EVENTS) engine.bind(event, (...values) => void this.events.push([event, ...values]));
  }

  id(name: string): string {
    const id = this.ids.get(name);
    assert(id !== undefined, `no client is called ${name}`);
    return id;
  }

  async createClient(...names: string[]): Promise<void> {
    for (const name of names) {
      this.ids.set(name, await new Promise((resolve) => this.engine.createClient(resolve)));
    }
  }

  exists(id: string): Promise<boolean> {
    return new Promise((resolve) => this.engine.clientExists(id, resolve));
  }

  async clientExists(name: string): Promise<boolean> {
    return this.exists(this.id(name));
  }

  async subscribe(name: string, ...channels: string[]): Promise<void> {
    for (const channel of channels) {
      assert.equal(await new Promise((resolve) => this.engine.subscribe(this.id(name), channel, resolve)), true);
    }
  }

  async unsubscribe(name: string, channel: string): Promise<void> {
    assert.equal(await new Promise((resolve) => this.engine.unsubscribe(this.id(name), channel, resolve)), true);
  }

  async destroyClient(name: string): Promise<void> {
    await new Promise<void>((resolve) => this.engine.destroyClient(this.id(name), resolve));
  }

  ping(name: string): void {
    this.engine.ping(this.id(name));
  }

  publish(...messages: object[]): void {
    for (const message of messages) this.engine.publish({ ...message });
  }

  publishBy(name: string, message: object): void {
    this.engine.publish({ ...message, clientId: this.id(name) });
  }

  /** Polls once, and keeps what comes. */
  poll(name: string): Promise<void> {
    return new Promise((resolve) => {
      this.engine.connect(this.id(name), {}, (messages) => {
        this.inbox(name).push(...messages);
        resolve();
      });
    });
  }

  /** Polls again and again, as a client does. */
  listen(...names: string[]): void {
    for (const name of names) void this.pollOn(name);
  }

  /** Checks what has come for a client and that nothing else will: what is published now comes last. */
  async expectMessages(name: string, ...messages: object[]): Promise<void> {
    const channel = `/nothing/after/this/${(this.barriers += 1)}`;
    const barrier = { channel, data: name };
    await this.subscribe(name, channel);
    this.publish(barrier);
    await until(`the barrier reaches ${name}`, () => this.inbox(name).some((message) => message.channel === channel));
    assert.deepEqual(this.inbox(name), [...messages, barrier]);
  }

  /** Waits until everything that was published before would have arrived. */
  async settle(witness: string): Promise<void> {
    this.listen(witness);
    await this.expectMessages(witness);
  }

  inbox(name: string): FayeMessage[] {
    const inbox = this.inboxes.get(name) ?? [];
    this.inboxes.set(name, inbox);
    return inbox;
  }

  /** The events about a client, or with `undefined` those about none. */
  eventsOf(name: string | undefined, ...kinds: string[]): Raised[] {
    const id = name === undefined ? undefined : this.id(name);
    return this.events.filter(([event, client]) => client === id && (kinds.length === 0 || kinds.includes(event)));
  }

  async untilRaised(name: string, ...expected: Raised[]): Promise<void> {
    const kinds = [...new Set(expected.map(([event]) => event))];
    await untilEqual(() => this.eventsOf(name, ...kinds), expected);
  }

  async stop(): Promise<void> {
    this.isOver = true;
    // Faye's timers of open polls would keep the process waiting.
    for (const id of this.ids.values()) this.engine.flushConnection(id);
    await this.engine.disconnect();
  }

  private async pollOn(name: string): Promise<void> {
    while (!this.isOver && !this.eventsOf(name, 'close').length) await this.poll(name);
  }
}
