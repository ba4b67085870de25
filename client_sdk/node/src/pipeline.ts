// All operations of a front-end over one stream: sent in frames, answered in order.
import { status as Code, type ClientDuplexStream } from '@grpc/grpc-js';

import { BackendServiceService } from '../generated/pixied/v1/backend_service';
import type { Closing } from '../generated/pixied/v1/message';
import { Operation, type OperationResult, type PipelineResponse } from '../generated/pixied/v1/pipeline';
import type { Connection } from './connection';
import { DeadlineExceeded, fromStatus, MessageTooLarge, PixiedError, TooManyOperations, Unavailable } from './errors';
import { Fifo } from './fifo';
import { encodeFrame, FrameWriter, type FrameItem } from './frame_writer';
import { KeptStream, type StreamListener } from './kept_stream';
import { REPEATABLE, type OperationName, type RequestOf, type ResponseOf } from './operations';

/** An operation that is on its way through the pipeline. */
interface Errand extends FrameItem {
  readonly name: OperationName;
  /** Emptied when the caller has its answer, for the errand may have to wait for its turn to be forgotten. */
  bytes: Uint8Array;
  resolve(response: unknown): void;
  reject(error: PixiedError): void;
  readonly timer: NodeJS.Timeout;
  /** How many streams broke with it under way. */
  losses: number;
  /** The caller has its answer, or has given up waiting for one. */
  isSettled: boolean;
}

type PipelineCall = ClientDuplexStream<readonly Errand[], PipelineResponse>;

/** What a pipeline may hold. */
export interface PipelineLimits {
  /** How many operations may wait for their answers. */
  readonly operations: number;
  /** How many bytes they may have together. */
  readonly bytes: number;
}

/** An operation that was under way in this many broken streams may be what breaks them. */
const MAX_LOSSES = 5;
/** When a stream ends with one of these, something that was sent on it is to blame, and would end the next one too. */
const BLAMING: ReadonlySet<number> = new Set([
  Code.INVALID_ARGUMENT,
  Code.RESOURCE_EXHAUSTED,
  Code.UNIMPLEMENTED,
  Code.UNAUTHENTICATED,
  Code.PERMISSION_DENIED,
]);
/** No server takes a larger operation by default. On the stream it would end everyone else's. */
const MAX_OPERATION_BYTES = 16 * 1024 * 1024;
const NOTHING = new Uint8Array();
const CLOSED = 'this front-end has been closed';
const METHOD = BackendServiceService.pipeline;

/**
 * One Pipeline stream. What is safe to repeat survives a broken stream: it is sent again, in order. Anything else that
 * was under way rejects with `Unavailable`, "outcome unknown". What was not sent yet waits for the next stream.
 */
export class Pipeline implements StreamListener<PipelineResponse, PipelineCall> {
  private readonly stream: KeptStream<PipelineResponse, PipelineCall>;
  private readonly underWay = new Fifo<Errand>();
  private readonly writer = new FrameWriter<Errand>((errands) => this.underWay.push(...errands));
  /** Why there is no stream; undefined while there is one. */
  private absence: string | undefined = 'not connected yet';
  private isClosed = false;
  private whenDrained: (() => void) | undefined;
  private bytes = 0;

  /** @param limits what is beyond them rejects with `TooManyOperations`. */
  constructor(
    private readonly connection: Connection,
    private readonly limits: PipelineLimits,
  ) {
    const { client } = connection;
    const open = () => client.makeBidiStreamRequest(METHOD.path, encodeFrame, METHOD.responseDeserialize);
    this.stream = new KeptStream(connection, 'Pipeline', open, this);
    this.stream.start();
  }

  /** How many operations wait for their answers. */
  get size(): number {
    return this.writer.size + this.underWay.size;
  }

  /** How many operations a frame may hold. */
  set maxItems(maxItems: number) {
    this.writer.maxItems = maxItems;
  }

  /** Carries one operation to pixied and its answer back. */
  perform<N extends OperationName>(name: N, request: RequestOf<N>, timeoutMs: number): Promise<ResponseOf<N>> {
    return new Promise<ResponseOf<N>>((resolve, reject) => {
      if (this.isClosed) throw new Unavailable(this.connection.address, CLOSED);
      // Encoded here, so that a request of a wrong type fails alone and not with a whole frame.
      const bytes = Operation.encode({ operation: { $case: name, value: request } as Operation['operation'] }).finish();
      this.admit(bytes.length);
      const timer = setTimeout(() => this.expire(errand, timeoutMs), timeoutMs);
      const settle = resolve as (response: unknown) => void;
      const errand: Errand = { name, bytes, resolve: settle, reject, timer, losses: 0, isSettled: false };
      this.writer.push(errand);
    });
  }

  private admit(bytes: number): void {
    const { operations, bytes: room } = this.limits;
    if (bytes > MAX_OPERATION_BYTES) {
      const message = `an operation may have ${MAX_OPERATION_BYTES} bytes, this one has ${bytes}: send several`;
      throw new MessageTooLarge('MESSAGE_TOO_LARGE', message, { code: Code.INVALID_ARGUMENT });
    }
    if (this.size >= operations) throw new TooManyOperations(`${operations}`);
    // What is large may come alone.
    if (this.bytes > 0 && this.bytes + bytes > room) throw new TooManyOperations(`${room} bytes`);
    this.bytes += bytes;
  }

  /** Lets what is under way be answered, for at most so many milliseconds, then ends the stream. */
  async close(timeoutMs: number): Promise<void> {
    this.isClosed = true;
    if (this.absence === undefined && this.size > 0) await this.drained(timeoutMs);
    this.stream.close();
    const error = new Unavailable(this.connection.address, `${CLOSED}; outcome unknown`);
    for (const errand of [...this.underWay.drain(), ...this.writer.drain()]) this.fail(errand, error);
  }

  opened(call: PipelineCall): void {
    this.absence = undefined;
    this.writer.writeTo(call);
  }

  received(response: PipelineResponse): void {
    this.stream.healthy();
    for (const { result } of response.results) this.answer(this.underWay.shift(), result);
    if (response.closing) this.leave(response.closing);
    if (this.size === 0) this.whenDrained?.();
  }

  lost(error: PixiedError): void {
    this.absence = error.message;
    this.writer.stop();
    const unanswered = this.underWay.drain().filter((errand) => !errand.isSettled);
    this.writer.pushFirst(unanswered.filter((errand) => this.survives(errand, error)));
  }

  private survives(errand: Errand, error: PixiedError): boolean {
    errand.losses += 1;
    const isToBlame = BLAMING.has(error.code) || errand.losses >= MAX_LOSSES;
    if (REPEATABLE[errand.name] && !isToBlame) return true;
    const { address } = this.connection;
    this.fail(errand, new Unavailable(address, `${error.message}; outcome of ${errand.name} unknown`));
    return false;
  }

  /** The server answers what it has received and wants nothing more on this stream. */
  private leave(closing: Closing): void {
    this.stream.returnAfter(closing.reconnectAfterMs);
    this.writer.hangUp();
  }

  private expire(errand: Errand, timeoutMs: number): void {
    const { absence } = this;
    this.writer.withdraw(errand);
    const { address } = this.connection;
    this.fail(errand, absence ? new Unavailable(address, absence) : new DeadlineExceeded(errand.name, timeoutMs));
  }

  private drained(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.whenDrained = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private answer(errand: Errand | undefined, result: OperationResult['result']): void {
    // More answers than operations.
    if (!errand) return;
    if (result?.$case === errand.name) {
      this.settle(errand);
      errand.resolve(result.value);
    } else if (result?.$case === 'error') {
      this.fail(errand, fromStatus(result.value));
    } else {
      const message = `pixied answered ${errand.name} with ${result?.$case ?? 'nothing'}`;
      this.fail(errand, new PixiedError('INTERNAL', message, { code: Code.INTERNAL }));
    }
  }

  private fail(errand: Errand, error: PixiedError): void {
    this.settle(errand);
    errand.reject(error);
  }

  /** Does nothing the second time: an errand that has expired may be answered yet. */
  private settle(errand: Errand): void {
    errand.isSettled = true;
    clearTimeout(errand.timer);
    this.bytes -= errand.bytes.length;
    errand.bytes = NOTHING;
  }
}
