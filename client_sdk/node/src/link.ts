// A front-end's link: the mail of all its clients on one Attach stream.
import { status as Code, type ClientDuplexStream } from '@grpc/grpc-js';

import { AttachCommand, type AttachEvent, type AttachResponse, type Delivery } from '../generated/pixied/v1/attach';
import type { AttachFailed, Batch, Detached, Welcome } from '../generated/pixied/v1/attach';
import { BackendServiceService } from '../generated/pixied/v1/backend_service';
import { AckMode, type Closing, type Gap } from '../generated/pixied/v1/message';
import { Attachment, failed, PARTINGS } from './attachment';
import type { AttachHandlers, AttachmentHost, AttachOptions, MailInfo, Parting } from './attachment';
import type { Connection } from './connection';
import { fromStatus, type PixiedError } from './errors';
import { encodeFrame, FrameWriter, type FrameItem } from './frame_writer';
import { KeptStream, type StreamListener } from './kept_stream';
import { Receipts } from './receipts';
import { millisecondsOf } from './time';

type LinkCall = ClientDuplexStream<readonly FrameItem[], AttachResponse>;
type Command = NonNullable<AttachCommand['command']>;

/** Who is told about the link as a whole. */
export interface LinkListener {
  /** The link stands, with these limits. */
  up(welcome: Welcome): void;
  /** The link is gone, or could not be made; it will be tried again. */
  down(error: PixiedError): void;
  /** A client lost mail. */
  gap(clientId: string, gap: Gap): void;
  /** A client is no longer attached. */
  detached(clientId: string, parting: Parting): void;
}

/** How the link presents itself. */
export interface LinkOptions {
  /** The front-end's name, for people. */
  readonly name: string;
  /** How many unconfirmed deliveries to take at once; 0 is the server's default. */
  readonly window: number;
}

const METHOD = BackendServiceService.attach;
const RETRY_ATTACH_MS = 1_000;

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
  private lastHeard = 0;
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
    const handle = this.freeHandles.pop() ?? (this.handles += 1);
    const attachment = new Attachment(this, clientId, handle, options, handlers);
    this.attachments.set(handle, attachment);
    this.sendAttach(attachment);
    return attachment;
  }

  confirm(attachment: Attachment, { number, stream }: MailInfo): void {
    if (stream !== this.streams || attachment.state !== 'attached') return;
    this.send({ $case: 'clientAck', value: { handle: attachment.handle, number } });
  }

  detach(attachment: Attachment): void {
    this.giveUp(attachment, { reason: 'requested', detail: 'detached by this front-end' });
  }

  refuse(attachment: Attachment, error: unknown): void {
    this.giveUp(attachment, { reason: 'refused', detail: 'its mail could not be handled', error });
  }

  /** Sends what waits, and ends the stream when the server has read it, or after so many milliseconds. */
  async close(patienceMs: number): Promise<void> {
    if (this.isUp) {
      await this.writer.idle();
      this.writer.hangUp();
      await this.stream.farewell(patienceMs);
    }
    clearInterval(this.silenceTimer);
    this.stream.close();
    this.isUp = false;
    for (const attachment of [...this.attachments.values()]) {
      this.finish(attachment, attachment.wish ?? { reason: 'closed', detail: 'this front-end has been closed' });
    }
  }

  opened(call: LinkCall): void {
    this.streams += 1;
    this.receipts = new Receipts((number) => this.acknowledge(number));
    this.lastAck = undefined;
    this.writer.writeTo(call);
    this.put({ $case: 'hello', value: { frontEnd: this.options.name, window: this.options.window } });
  }

  received(response: AttachResponse): void {
    this.lastHeard = Date.now();
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
    const receipt = this.receipts.open(number);
    for (const batch of batches) this.handOut(batch, number, (work) => receipt.wait(work));
    receipt.seal();
  }

  private handOut({ messages, handles, redelivered }: Batch, number: number, wait: (work: Promise<void>) => void) {
    const info: MailInfo = { number, stream: this.streams, redelivered };
    for (const handle of handles) {
      const attachment = this.attachments.get(handle);
      if (!attachment?.isWanted) continue;
      const work = attachment.take(messages, info);
      // A client that confirms by itself holds nobody else's confirmation back.
      if (work && !attachment.isExplicit) wait(work);
    }
  }

  private detached({ handle, reason, detail }: Detached): void {
    const attachment = this.attachments.get(handle);
    if (!attachment) return;
    const asked = PARTINGS[reason] === 'requested' ? attachment.wish : undefined;
    this.finish(attachment, asked ?? { reason: PARTINGS[reason], detail });
  }

  private gap(handle: number, gap: Gap): void {
    const attachment = this.attachments.get(handle);
    if (!attachment?.isWanted) return;
    attachment.handlers.onGap?.(gap);
    this.listener.gap(attachment.clientId, gap);
  }

  /** The server is stopping: confirm what is handled by the end of this turn, and come back when it says. */
  private leave(closing: Closing): void {
    this.stream.returnAfter(closing.reconnectAfterMs);
    const stream = this.streams;
    setImmediate(() => {
      if (stream === this.streams) void this.writer.idle().then(() => stream === this.streams && this.writer.hangUp());
    });
  }

  private giveUp(attachment: Attachment, wish: Parting): void {
    if (!attachment.isWanted) return;
    attachment.wish = wish;
    if (!this.isUp) this.finish(attachment, wish);
    else if (attachment.state === 'attached') this.sendDetach(attachment);
  }

  private finish(attachment: Attachment, parting: Parting): void {
    this.attachments.delete(attachment.handle);
    this.freeHandles.push(attachment.handle);
    attachment.part(parting);
    this.listener.detached(attachment.clientId, parting);
  }

  private sendAttach({ clientId, handle, isExplicit, expires }: Attachment): void {
    const ackMode = isExplicit ? AckMode.EXPLICIT : AckMode.AUTO;
    this.send({ $case: 'attach', value: { clientId, handle, ackMode, expires } });
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

  /** Confirms for the whole link. Commands keep their order, so whoever refused mail has been given up before this. */
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
    this.silenceTimer = setInterval(() => {
      if (Date.now() - this.lastHeard > limit) this.stream.abandon(`nothing was heard from it for ${limit} ms`);
    }, interval);
  }
}
