// A server that says what a test wants it to say: for what a pixied does rarely, or never.
import { Server, ServerCredentials, status as Code } from '@grpc/grpc-js';
import type { ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';

import type { AttachEvent, AttachRequest, AttachResponse } from '../generated/pixied/v1/attach';
import { BackendServiceService } from '../generated/pixied/v1/backend_service';
import type { Operation, OperationResult, PipelineRequest, PipelineResponse } from '../generated/pixied/v1/pipeline';
import type { Event, WatchRequest, WatchResponse } from '../generated/pixied/v1/watch';

type LinkCall = ServerDuplexStream<AttachRequest, AttachResponse>;
type PipelineCall = ServerDuplexStream<PipelineRequest, PipelineResponse>;
type WatchCall = ServerWritableStream<WatchRequest, WatchResponse>;
type LinkEvent = NonNullable<AttachEvent['event']>;
/** An operation, or its answer. */
export type Asked = NonNullable<Operation['operation']>;
export type Answer = NonNullable<OperationResult['result']>;

const { attach, pipeline, watch } = BackendServiceService;
const A_MINUTE = { seconds: 60, nanos: 0 };
const WELCOME: LinkEvent = {
  $case: 'welcome',
  value: {
    serverVersion: 'puppet',
    heartbeatInterval: A_MINUTE,
    silenceLimit: A_MINUTE,
    window: 64,
    maxCommands: 1000,
    maxClients: 1000,
    maxMessageBytes: 1024,
  },
};

/** One Attach stream, as the server sees it. */
export class PuppetLink {
  /** What it received, as `name handle` or `name number`. */
  readonly commands: string[] = [];
  /** How its front-end presents itself. */
  name = '';
  window = 0;

  constructor(private readonly call: LinkCall) {
    call.on('data', ({ commands }: AttachRequest) => {
      for (const { command } of commands) {
        if (command!.$case === 'hello') ({ frontEnd: this.name, window: this.window } = command!.value);
        this.commands.push(inWords(command!));
      }
    });
    call.on('end', () => call.end());
    this.send(WELCOME);
  }

  send(...events: LinkEvent[]): void {
    this.call.write({ events: events.map((event) => ({ event })) });
  }

  /** A delivery with one message for each of these handles. */
  deliver(number: number, ...handles: number[]): void {
    const message = { channel: '/a', data: String(number), clientId: '', excludePublisher: false, idempotencyKey: '' };
    const batches = handles.map((handle) => ({ messages: [message], handles: [handle], redelivered: false, cursor: number }));
    this.send({ $case: 'delivery', value: { number, batches } });
  }

  end(code: Code): void {
    this.call.emit('error', { code, details: 'as the test wishes' });
  }
}

/** The server. It keeps what it receives, and answers as a test says. */
export class Puppet {
  readonly links: PuppetLink[] = [];
  /** The operations of each Pipeline stream, and how to end it. */
  readonly pipelines: { operations: Operation[]; call: PipelineCall }[] = [];
  /** The Watch streams; each was answered once, with nothing. */
  readonly watches: WatchCall[] = [];
  /** What it answers to an operation; nothing if that is undefined. */
  answer: (asked: Asked) => Answer | undefined = () => undefined;
  address = '';

  private constructor(private readonly server: Server) {}

  /** @param port where it listens; by default any that is free. */
  static async start(port = 0): Promise<Puppet> {
    const puppet = new Puppet(new Server());
    puppet.server.addService(
      { attach, pipeline, watch },
      {
        attach: (call: LinkCall) => void puppet.links.push(new PuppetLink(call)),
        pipeline: (call: PipelineCall) => puppet.receive(call),
        watch: (call: WatchCall) => {
          puppet.watches.push(call);
          puppet.report();
        },
      },
    );
    const bound = await new Promise<number>((resolve, reject) => {
      const credentials = ServerCredentials.createInsecure();
      puppet.server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    puppet.address = `127.0.0.1:${bound}`;
    return puppet;
  }

  /** The newest link. */
  get link(): PuppetLink {
    return this.links.at(-1)!;
  }

  /** What was asked on all Pipeline streams, in order. */
  get asked(): Asked[] {
    return this.pipelines.flatMap(({ operations }) => operations.map(({ operation }) => operation!));
  }

  /** Reports events on the newest Watch stream. */
  report(...events: Event[]): void {
    this.watches.at(-1)!.write({ events, missed: 0, closing: undefined });
  }

  /** Ends the newest Pipeline stream. */
  endPipeline(code: Code): void {
    this.pipelines.at(-1)!.call.emit('error', { code, details: 'as the test wishes' });
  }

  dispose(): void {
    this.server.forceShutdown();
  }

  private receive(call: PipelineCall): void {
    const operations: Operation[] = [];
    this.pipelines.push({ operations, call });
    call.on('data', (request: PipelineRequest) => {
      operations.push(...request.operations);
      const results = request.operations.map(({ operation }) => ({ result: this.answer(operation!) }));
      const answered = results.filter(({ result }) => result !== undefined);
      if (answered.length > 0) call.write({ results: answered, closing: undefined });
    });
    call.on('end', () => call.end());
  }
}

function inWords(command: NonNullable<AttachRequest['commands'][number]['command']>): string {
  switch (command.$case) {
    case 'attach':
    case 'detach':
      return `${command.$case} ${command.value.handle}`;
    case 'clientAck':
      return `clientAck ${command.value.handle} ${command.value.number}`;
    case 'ack':
      return `ack ${command.value.number}`;
    default:
      return command.$case;
  }
}

