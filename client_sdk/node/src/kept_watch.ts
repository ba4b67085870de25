// Events of pixied for as long as a front-end lives.
import type { ClientReadableStream } from '@grpc/grpc-js';

import { BackendServiceService } from '../generated/pixied/v1/backend_service';
import type { Event, EventKind, WatchResponse } from '../generated/pixied/v1/watch';
import { callOut } from './callout';
import type { Connection } from './connection';
import { KeptStream, type StreamListener } from './kept_stream';

/** What is called at events. */
export interface WatchListener {
  /** Something happened. */
  happened(event: Event): void;
  /** What happened before this is no longer certain: the stream is new, or this watcher was too slow. */
  uncertain(): void;
}

type WatchCall = ClientReadableStream<WatchResponse>;

const METHOD = BackendServiceService.watch;

/** One Watch stream that comes back by itself. */
export class KeptWatch implements StreamListener<WatchResponse, WatchCall> {
  private readonly stream: KeptStream<WatchResponse, WatchCall>;
  /** Fulfilled when the first attempt has come out, one way or the other. */
  readonly attempt: Promise<void>;
  private tried: () => void = () => undefined;
  private isNew = true;

  constructor(
    connection: Connection,
    kinds: readonly EventKind[],
    private readonly listener: WatchListener,
  ) {
    const request = { kinds: [...kinds], channelPattern: '', clientId: '' };
    const { path, requestSerialize, responseDeserialize } = METHOD;
    const open = () => connection.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    this.attempt = new Promise((resolve) => (this.tried = resolve));
    this.stream = new KeptStream(connection, 'Watch', open, this);
    this.stream.start();
  }

  /** Ends the stream. */
  close(): void {
    this.stream.close();
    this.tried();
  }

  opened(): void {
    this.isNew = true;
  }

  received({ events, missed, closing }: WatchResponse): void {
    this.stream.healthy();
    this.tried();
    if (this.isNew || missed > 0) callOut(() => this.listener.uncertain());
    this.isNew = false;
    for (const event of events) callOut(() => this.listener.happened(event));
    if (closing) this.stream.returnAfter(closing.reconnectAfterMs);
  }

  /** The next stream begins with `uncertain`. */
  lost(): void {
    this.tried();
  }
}
