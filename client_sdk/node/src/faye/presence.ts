// Whether pixied is away, as far as Faye's clients are concerned.
import type { PixiedError } from '../errors';

/**
 * A connection that broke comes back in much less, to the same pixied or to another one; until then what is asked waits
 * for it. In milliseconds, and no longer than clients that are sent away wait before they come again.
 */
const CHANGEOVER_MS = 2_000;

/** What is called at transitions. */
export interface PresenceListener {
  /** pixied has been out of reach for so long that work is refused from now on. */
  wentAway(error: PixiedError): void;
  /** It can be reached again. Called only after it was away. */
  cameBack(): void;
}

/** Distinguishes a change of connections from an outage. */
export class Presence {
  /** Whether what is asked is refused, and does not wait. */
  isAway = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly listener: PresenceListener) {}

  /** The connection is gone, or could not be made. */
  lost(error: PixiedError): void {
    this.timer ??= setTimeout(() => {
      this.isAway = true;
      this.listener.wentAway(error);
    }, CHANGEOVER_MS);
  }

  /** The connection stands. */
  found(): void {
    const wasAway = this.isAway;
    this.dispose();
    this.isAway = false;
    if (wasAway) this.listener.cameBack();
  }

  /** Calls no more for a connection that is gone. */
  dispose(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
