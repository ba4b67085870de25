// A front-end's link: the messages of all its clients on one Attach stream.
import { status as Code, type ClientDuplexStream } from '@grpc/grpc-js';

import { AttachCommand, type AttachEvent, type AttachResponse, type Delivery } from '../generated/pixied/v1/attach';
import type { AttachFailed, Batch, Detached as DetachedEvent, Welcome } from '../generated/pixied/v1/attach';
import { BackendServiceService } from '../generated/pixied/v1/backend_service';
import { AckMode, type Closing, type Gap } from '../generated/pixied/v1/message';
import { Attachment, DETACH_REASONS, failed, isNatural } from './attachment';
import type { AttachHandlers, AttachmentHost, AttachOptions, DeliveryInfo, Detached } from './attachment';
import type { Batch as HandedOut } from './attachment';
import { callOut } from './callout';
import type { Connection } from './connection';
import { FieldInvalid, fromStatus, type PixiedError } from './errors';
import { encodeFrame, FrameWriter, type FrameItem } from './frame_writer';
import { KeptStream, type StreamListener } from './kept_stream';
import { Receipts, type Receipt } from './receipts';
import { millisecondsOf } from './time';

type LinkCall = ClientDuplexStream<readonly FrameItem[], AttachResponse>;
type Command = NonNullable<AttachCommand['command']>;

/** What is called when something happens to the link as a whole. */
export interface LinkListener {
  /** The link stands, with these limits. */
  up(welcome: Welcome): void;
  /** The link is gone, or could not be made; it will be tried again. */
  down(error: PixiedError): void;
  /** A client lost messages. */
  gap(clientId: string, gap: Gap): void;
  /** A client is no longer attached. */
  detached(clientId: string, detached: Detached): void;
}

/** How the link presents itself. */
export interface LinkOptions {
  /** The front-end's name, for people. */
  readonly name: string;
  /** How many unconfirmed deliveries to take at once; 0 is the server's default. */
  readonly window: number;
  /** Takes all messages, if they are not for each attachment's `onMessages`. */
  readonly onBatch?: ((batch: HandedOut) => void | Promise<void>) | undefined;
}

const METHOD = BackendServiceService.attach;
const MAX_CLIENT_ID_BYTES = 255;
const CLOSED: Detached = { reason: 'closed', detail: 'this front-end has been closed' };
const RETRY_ATTACH_MS = 1_000;
const SECOND_LOOK_MS = 10;

/** One Attach stream that comes back by itself and attaches all its clients again. */
export class Link implements StreamListener<AttachResponse, LinkCall>, AttachmentHost {
  private readonly stream: KeptStream<AttachResponse, LinkCall>;
  private readonly writer = new FrameWriter<FrameItem>();
  private readonly attachments = new Map<number, Attachment>();
  private readonly freeHandles: number[] = [];
  private handles = 0;
  private streams = 0;
  private receipts = new Receipts(() => undefined);
  private lastAck: FrameItem | undefined;
  /** The stream is open, welcomed, and not about to close. */
  private isUp = false;
  /** `close` was called: nothing is handed out any more, for it could not be confirmed. */
  private isOver = false;
  private lastReceived = 0;
  private silenceTimer: NodeJS.Timeout | undefined;

  constructor(
    connection: Connection,
    private readonly options: LinkOptions,
    private readonly listener: LinkListener,
  ) {
    const { client } = connection;
    const open = () => client.makeBidiStreamRequest(METHOD.path, encodeFrame, METHOD.responseDeserialize);
    this.stream = new KeptStream(connection, 'Attach', open, this);
    this.stream.start();
  }

  /** Takes a client onto this link. */
  attach(clientId: string, options: AttachOptions, handlers: AttachHandlers): Attachment {
    if (!handlers.onMessages && !this.options.onBatch) {
      throw new TypeError('either onMessages or onBatch has to take the messages');
    }
    const handle = this.freeHandles.pop() ?? (this.handles += 1);
    const attachment = new Attachment(this, clientId, handle, options, handlers);
    this.attachments.set(handle, attachment);
    const refusal = this.isOver ? CLOSED : objectionTo(clientId, attachment.ackCursor);
    if (refusal) process.nextTick(() => this.finish(attachment, refusal));
    else this.sendAttach(attachment);
    return attachment;
  }

  confirm(attachment: Attachment, { number, stream }: DeliveryInfo): void {
    if (stream !== this.streams || attachment.state !== 'attached') return;
    this.send({ $case: 'clientAck', value: { handle: attachment.handle, number } });
  }

  detach(attachment: Attachment): void {
    this.giveUp(attachment, { reason: 'requested', detail: 'detached by this front-end' });
  }

  refuse(attachment: Attachment, error: unknown): void {
    this.giveUp(attachment, { reason: 'refused', detail: 'its messages could not be handled', error });
  }

  /** Sends what waits, and ends the stream when the server has read it, or after so many milliseconds. */
  async close(timeoutMs: number): Promise<void> {
    this.isOver = true;
    if (this.isUp) {
      const timer = setTimeout(() => this.cut(), timeoutMs);
      await this.sayGoodbye();
      clearTimeout(timer);
    }
    clearInterval(this.silenceTimer);
    this.stream.close();
    for (const attachment of [...this.attachments.values()]) {
      this.finish(attachment, attachment.wish ?? CLOSED);
    }
  }

  opened(call: LinkCall): void {
    const stream = (this.streams += 1);
    // What an old stream brought may be handled only now, and its numbers mean nothing here.
    this.receipts = new Receipts((number) => stream === this.streams && this.acknowledge(number));
    this.lastAck = undefined;
    this.writer.writeTo(call);
    this.put({ $case: 'hello', value: { frontEnd: this.options.name, window: this.options.window } });
  }

  received(response: AttachResponse): void {
    this.lastReceived = performance.now();
    for (const { event } of response.events) if (event) this.react(event);
  }

  lost(error: PixiedError): void {
    this.isUp = false;
    clearInterval(this.silenceTimer);
    this.writer.stop();
    this.writer.drain();
    for (const attachment of [...this.attachments.values()]) {
      if (attachment.wish) this.finish(attachment, attachment.wish);
      else attachment.startOver();
    }
    this.listener.down(error);
  }

  /** Lets what waits go out, then waits until the server has read it and ends the stream. */
  private async sayGoodbye(): Promise<void> {
    await this.writer.idle();
    this.writer.hangUp();
    await this.stream.farewell();
  }

  private cut(): void {
    this.stream.close();
    this.writer.stop();
  }

  private react(event: NonNullable<AttachEvent['event']>): void {
    switch (event.$case) {
      case 'welcome':
        return this.welcome(event.value);
      case 'attached':
        return event.value.handles.forEach((handle) => this.attached(handle));
      case 'attachFailed':
        return this.attachFailed(event.value);
      case 'delivery':
        return this.deliver(event.value);
      case 'detached':
        return this.detached(event.value);
      case 'gap':
        return event.value.handles.forEach((handle) => this.gap(handle, event.value.gap!));
      case 'heartbeat':
        return void this.put({ $case: 'heartbeat', value: {} });
      case 'closing':
        return this.leave(event.value);
    }
  }

  private welcome(welcome: Welcome): void {
    this.stream.healthy();
    this.isUp = true;
    this.writer.maxItems = welcome.maxCommands;
    this.watchSilence(millisecondsOf(welcome.heartbeatInterval!), millisecondsOf(welcome.silenceLimit!));
    for (const attachment of this.attachments.values()) this.sendAttach(attachment);
    this.listener.up(welcome);
  }

  private attached(handle: number): void {
    const attachment = this.attachments.get(handle);
    if (!attachment) return;
    attachment.state = 'attached';
    // The wish came while the attach was under way.
    if (attachment.wish) this.sendDetach(attachment);
    else callOut(() => attachment.handlers.onAttached?.());
  }

  private attachFailed({ handle, error: status }: AttachFailed): void {
    const attachment = this.attachments.get(handle);
    if (!attachment) return;
    const error = fromStatus(status!);
    if (attachment.wish || error.code !== Code.UNAVAILABLE) {
      this.finish(attachment, attachment.wish ?? failed(error));
    } else {
      const stream = this.streams;
      const again = (): void => this.attachAgain(attachment, stream);
      setTimeout(again, error.retryAfterMs ?? RETRY_ATTACH_MS);
    }
  }

  /** Unless a new stream has attached it meanwhile. */
  private attachAgain(attachment: Attachment, stream: number): void {
    if (stream !== this.streams) return;
    if (attachment.wish) this.finish(attachment, attachment.wish);
    else if (attachment.state === 'attaching') this.sendAttach(attachment);
  }

  private deliver({ number, batches }: Delivery): void {
    // Nothing of it could be confirmed any more.
    if (this.isOver) return;
    const receipt = this.receipts.open(number);
    const handOut = this.options.onBatch ? this.handOutAtOnce : this.handOut;
    for (const batch of batches) handOut.call(this, batch, number, receipt);
    receipt.seal();
  }

  private handOut({ messages, handles, redelivered, cursor }: Batch, number: number, receipt: Receipt): void {
    const info: DeliveryInfo = { number, stream: this.streams, redelivered, cursor };
    for (const handle of handles) {
      const attachment = this.attachments.get(handle);
      if (!attachment?.isWanted) continue;
      const work = attachment.take(messages, info);
      // A client that confirms by itself holds nobody else's confirmation back.
      if (work && !attachment.isExplicit) receipt.wait(work);
    }
  }

  private handOutAtOnce({ messages, handles, ...info }: Batch, number: number, receipt: Receipt): void {
    const takers = handles.map((handle) => this.attachments.get(handle)).filter((taker) => taker?.isWanted === true);
    if (takers.length === 0) return;
    const refuse = (error: unknown): void => takers.forEach((taker) => this.refuse(taker!, error));
    const wanted = takers.map((taker) => taker!.handle);
    try {
      const outcome = this.options.onBatch!({ messages, handles: wanted, number, stream: this.streams, ...info });
      if (outcome) receipt.wait(outcome.catch(refuse));
    } catch (error) {
      refuse(error);
    }
  }

  private detached({ handle, reason, detail }: DetachedEvent): void {
    const attachment = this.attachments.get(handle);
    if (!attachment) return;
    const asked = DETACH_REASONS[reason] === 'requested' ? attachment.wish : undefined;
    this.finish(attachment, asked ?? { reason: DETACH_REASONS[reason], detail });
  }

  private gap(handle: number, gap: Gap): void {
    const attachment = this.attachments.get(handle);
    if (!attachment?.isWanted) return;
    callOut(() => attachment.handlers.onGap?.(gap));
    this.listener.gap(attachment.clientId, gap);
  }

  /** The server is stopping: confirm what is handled by the end of this turn, and come back when it says. */
  private leave(closing: Closing): void {
    this.stream.returnAfter(closing.reconnectAfterMs);
    const stream = this.streams;
    setImmediate(() => {
      void this.writer.idle().then(() => stream === this.streams && this.writer.hangUp());
    });
  }

  private giveUp(attachment: Attachment, wish: Detached): void {
    if (!attachment.isWanted) return;
    attachment.wish = wish;
    if (!this.isUp) this.finish(attachment, wish);
    else if (attachment.state === 'attached') this.sendDetach(attachment);
  }

  private finish(attachment: Attachment, detached: Detached): void {
    // Once: a handle that is freed twice would be given to two clients.
    if (this.attachments.get(attachment.handle) !== attachment) return;
    this.attachments.delete(attachment.handle);
    this.freeHandles.push(attachment.handle);
    attachment.end(detached);
    this.listener.detached(attachment.clientId, detached);
  }

  private sendAttach({ clientId, handle, isExplicit, expires, ackCursor }: Attachment): void {
    const ackMode = isExplicit ? AckMode.EXPLICIT : AckMode.AUTO;
    this.send({ $case: 'attach', value: { clientId, handle, ackMode, expires, ackCursor } });
  }

  private sendDetach(attachment: Attachment): void {
    const { handle, isExplicit, handledThrough } = attachment;
    attachment.state = 'leaving';
    // Ahead of the link's own confirmation, which may have to wait for other clients.
    if (!isExplicit && handledThrough > 0) {
      this.send({ $case: 'clientAck', value: { handle, number: handledThrough } });
    }
    this.send({ $case: 'detach', value: { handle } });
  }

  /** Confirms for the whole link. Commands keep their order, so a client that refused messages was given up before this. */
  private acknowledge(number: number): void {
    const { last } = this.writer;
    if (last && last === this.lastAck) this.writer.withdraw(last);
    this.lastAck = this.send({ $case: 'ack', value: { number } });
  }

  private send(command: Command): FrameItem | undefined {
    return this.isUp ? this.put(command) : undefined;
  }

  private put(command: Command): FrameItem {
    const item = { bytes: AttachCommand.encode({ command }).finish() };
    this.writer.push(item);
    return item;
  }

  private watchSilence(interval: number, limit: number): void {
    clearInterval(this.silenceTimer);
    const isSilent = (): boolean => performance.now() - this.lastReceived > limit;
    this.silenceTimer = setInterval(() => {
      if (!isSilent()) return;
      const stream = this.streams;
      // If it was this process that stood still, what came meanwhile is read before this runs.
      setTimeout(() => {
        if (stream === this.streams && isSilent()) this.stream.abandon(`it was silent for ${limit} ms`);
      }, SECOND_LOOK_MS);
    }, interval);
  }
}

/** Why this can't be sent, or would end the whole link: pixied would take it for a breach of the protocol. */
function objectionTo(clientId: unknown, ackCursor: number): Detached | undefined {
  const isFine = typeof clientId === 'string' && clientId !== '' && Buffer.byteLength(clientId) <= MAX_CLIENT_ID_BYTES;
  if (!isFine) return invalid('client_id', `a client id has 1 to ${MAX_CLIENT_ID_BYTES} bytes`);
  if (!isNatural(ackCursor)) {
    return invalid('ack_cursor', 'no delivery has such a cursor; name one that came with a delivery');
  }
  return undefined;
}

function invalid(field: string, message: string): Detached {
  return failed(new FieldInvalid('FIELD_INVALID', message, { code: Code.INVALID_ARGUMENT, field }));
}
