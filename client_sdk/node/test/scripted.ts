// A connection that a test plays: it keeps what is written to its streams, and says what the test wants.
import { EventEmitter } from 'node:events';

import { connectivityState, status as Code } from '@grpc/grpc-js';

import type { Connection } from '../src/connection';
import type { FrameItem } from '../src/frame_writer';

/** One stream, as the SDK holds it. */
export class ScriptedCall extends EventEmitter {
  /** What was written, frame by frame. */
  readonly frames: (readonly FrameItem[])[] = [];
  isEnded = false;
  isCancelled = false;
  private readonly unwritten: (() => void)[] = [];

  /** @param request what the stream was opened with, if it is not one of both directions. */
  constructor(readonly request?: unknown) {
    super();
  }

  write(frame: readonly FrameItem[], written: () => void): void {
    // A pipeline empties its errands when they are answered.
    this.frames.push(frame.map(({ bytes }) => ({ bytes })));
    this.unwritten.push(written);
  }

  /** Lets what was written so far go out. */
  flush(): void {
    for (const written of this.unwritten.splice(0)) written();
  }

  end(): void {
    this.isEnded = true;
  }

  /** Ends it from this side; that comes through later. */
  cancel(): void {
    if (!this.isCancelled) setImmediate(() => this.break(Code.CANCELLED));
    this.isCancelled = true;
  }

  /** Ends it as a server or the network does. */
  break(code: number, details = ''): void {
    this.emit('error', { code, details });
    this.emit('end');
  }
}

/** A connection to nowhere that stands when the test says so. */
export class ScriptedConnection {
  /** The streams that were opened, in order. */
  readonly calls: ScriptedCall[] = [];
  readonly connection: Connection;
  /** How often a connection was asked for. */
  attempts = 0;
  private state = connectivityState.READY;
  private readonly watchers: (() => void)[] = [];

  constructor() {
    const open = (request?: unknown): ScriptedCall => {
      this.calls.push(new ScriptedCall(request));
      return this.call;
    };
    const client = {
      getChannel: () => ({
        getConnectivityState: (isWanted: boolean) => {
          if (isWanted) this.attempts += 1;
          return this.state;
        },
        watchConnectivityState: (_state: unknown, _deadline: unknown, changed: () => void) => this.watchers.push(changed),
      }),
      makeBidiStreamRequest: () => open(),
      makeServerStreamRequest: (_path: unknown, _serialize: unknown, _deserialize: unknown, request: unknown) => open(request),
    };
    this.connection = { address: 'nowhere:1', client: client as unknown as Connection['client'] };
  }

  /** The newest stream. */
  get call(): ScriptedCall {
    return this.calls.at(-1)!;
  }

  /** Changes the state of the connection. */
  become(state: connectivityState): void {
    this.state = state;
    for (const changed of this.watchers.splice(0)) changed();
  }
}

/** Lets everything that is due in this turn of the event loop happen. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
