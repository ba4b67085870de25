// One client on a front-end's link.
import type { Gap, Message } from '../generated/pixied/v1/message';
import { DetachReason } from '../generated/pixied/v1/attach';
import { callOut } from './callout';
import type { PixiedError } from './errors';

/** By which delivery messages came. */
export interface DeliveryInfo {
  /** The delivery's number on the link, for `Attachment.confirm`. */
  readonly number: number;
  /** Which of the link's streams it came by: numbers begin anew on each. */
  readonly stream: number;
  /** True: the client may have got these messages before. */
  readonly redelivered: boolean;
  /** Names the end of these messages, for `AttachOptions.ackCursor`, at any front-end. Ascending on each stream. */
  readonly cursor: number;
}

/** Why a client is no longer attached. */
export interface Detached {
  /**
   * `requested`: by `detach`. `taken_over`: another attach has it. `destroyed`, `expired`: the session is over.
   * `failed`: it could not be attached. `refused`: its messages were not handled. `closed`: the front-end was closed.
   */
  readonly reason: 'requested' | 'taken_over' | 'destroyed' | 'expired' | 'failed' | 'refused' | 'closed';
  /** More about it, for people. */
  readonly detail: string;
  /** What went wrong: for `failed` a `PixiedError`, for `refused` whatever `onMessages` or `onBatch` threw. */
  readonly error?: unknown;
}

/** Messages that the same clients get. */
export interface Batch extends DeliveryInfo {
  /** In order. */
  readonly messages: readonly Message[];
  /** `Attachment.handle` of each client that gets them, all of them. */
  readonly handles: readonly number[];
}

/** What an attached client's owner does. */
export interface AttachHandlers {
  /**
   * Takes messages; required unless the front-end has `onBatch`. They count as handled when this returns, or when the
   * promise that it returns is fulfilled. If it fails, the client is given up: these messages and what follows stay with
   * pixied for its next attach.
   * Deliveries are not held back for a promise of the one before.
   */
  onMessages?(messages: readonly Message[], info: DeliveryInfo): void | Promise<void>;
  /** pixied holds the client for this front-end; what is pending follows. Called again after each new stream. */
  onAttached?(): void;
  /** The client lost messages. */
  onGap?(gap: Gap): void;
  /** The client is no longer attached; nothing follows. */
  onDetached?(detached: Detached): void;
}

/** How a client is attached. */
export interface AttachOptions {
  /** `auto`: what `onMessages` has handled is confirmed. `explicit`: `Attachment.confirm` alone does. Default `auto`. */
  readonly ackMode?: 'auto' | 'explicit' | undefined;
  /** Whether the session timeout runs on while it is attached, so that only pings prolong it. Default false. */
  readonly expires?: boolean | undefined;
  /** The client has confirmed everything up to and with what carried this cursor, at any front-end. Default: nothing. */
  readonly ackCursor?: number | undefined;
}

/** The link, as an attachment sees it. */
export interface AttachmentHost {
  confirm(attachment: Attachment, info: DeliveryInfo): void;
  detach(attachment: Attachment): void;
  refuse(attachment: Attachment, error: unknown): void;
}

/** A delivery that a handler has taken and not handled yet. */
interface Taken {
  readonly number: number;
}

/**
 * A client that a front-end holds. Made by `FrontEnd.attach`; it survives broken links, and messages that were not
 * confirmed come again, marked as redelivered.
 */
export class Attachment {
  /** Where it stands: `leaving` until pixied has answered the detach. */
  state: 'attaching' | 'attached' | 'leaving' | 'gone' = 'attaching';
  /** What the end will be called if this side wants it. */
  wish: Detached | undefined;
  readonly isExplicit: boolean;
  readonly expires: boolean;
  /** Confirmed by the client itself: named at each attach, so that a confirmation outlives the stream it was sent on. */
  ackCursor: number;
  private ackStream = 0;
  private unhandled = new Set<Taken>();
  private last = 0;

  /** @param handle stands for the client in batches; it stays the same when the link is renewed. */
  constructor(
    private readonly host: AttachmentHost,
    readonly clientId: string,
    readonly handle: number,
    options: AttachOptions,
    readonly handlers: AttachHandlers,
  ) {
    this.isExplicit = options.ackMode === 'explicit';
    this.expires = options.expires ?? false;
    this.ackCursor = options.ackCursor ?? 0;
  }

  /** Whether messages for it are still wanted. */
  get isWanted(): boolean {
    return this.wish === undefined;
  }

  /** Every delivery up to this number was handled, or had nothing for this client. */
  get handledThrough(): number {
    const [oldest] = this.unhandled;
    return oldest ? oldest.number - 1 : this.last;
  }

  /**
   * The client itself has confirmed everything up to this delivery. If the link breaks, the next attach says so again.
   *
   * @throws TypeError if this came with no delivery.
   */
  confirm(info: DeliveryInfo): void {
    if (!isNatural(info.number) || !isNatural(info.cursor)) {
      throw new TypeError('confirm takes what came with the messages');
    }
    // Cursors of different streams can't be compared; the later stream's is the later one.
    const isNewer = info.stream > this.ackStream || (info.stream === this.ackStream && info.cursor > this.ackCursor);
    if (isNewer) [this.ackCursor, this.ackStream] = [info.cursor, info.stream];
    this.host.confirm(this, info);
  }

  /** Gives the client up. What was handled is confirmed first (in ack mode `auto`); the rest stays with pixied. */
  detach(): void {
    this.host.detach(this);
  }

  /** Hands messages to the owner. The answer: a promise if that takes time. */
  take(messages: readonly Message[], info: DeliveryInfo): Promise<void> | undefined {
    this.last = info.number;
    let outcome: void | Promise<void>;
    try {
      outcome = this.handlers.onMessages!(messages, info);
    } catch (error) {
      this.keep({ number: info.number }, this.unhandled, error);
      return undefined;
    }
    return outcome ? this.finish({ number: info.number }, outcome) : undefined;
  }

  /** A new stream begins: its numbers have nothing to do with the old ones. */
  startOver(): void {
    this.state = 'attaching';
    // A new set: what the last stream brought may still be in hand, and fail.
    this.unhandled = new Set();
    this.last = 0;
  }

  /** It is over. */
  end(detached: Detached): void {
    this.state = 'gone';
    callOut(() => this.handlers.onDetached?.(detached));
  }

  private async finish(taken: Taken, outcome: Promise<void>): Promise<void> {
    const { unhandled } = this;
    unhandled.add(taken);
    try {
      await outcome;
      unhandled.delete(taken);
    } catch (error) {
      this.keep(taken, unhandled, error);
    }
  }

  /** What was not handled stays among the unhandled, so that no confirmation ever covers it. */
  private keep(taken: Taken, unhandled: Set<Taken>, error: unknown): void {
    unhandled.add(taken);
    this.host.refuse(this, error);
  }
}

/** Pixied's reasons in this package's words. */
export const DETACH_REASONS: Readonly<Record<DetachReason, Detached['reason']>> = {
  [DetachReason.UNSPECIFIED]: 'requested',
  [DetachReason.REQUESTED]: 'requested',
  [DetachReason.TAKEN_OVER]: 'taken_over',
  [DetachReason.DESTROYED]: 'destroyed',
  [DetachReason.EXPIRED]: 'expired',
};

/** The end of an attachment that never began. */
export function failed(error: PixiedError): Detached {
  return { reason: 'failed', detail: error.message, error };
}

/** Whether this is a whole number that a frame can carry exactly. */
export function isNatural(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
