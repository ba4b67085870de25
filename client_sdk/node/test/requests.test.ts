// What operations ask of pixied, and what they make of its answers.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, beforeEach, describe, it } from 'node:test';

import { credentials, Metadata, Server, ServerCredentials, status as Code, type ServiceError } from '@grpc/grpc-js';

import { ErrorInfo, RetryInfo } from '../generated/google/rpc/error_details';
import { Status } from '../generated/google/rpc/status';
import { AdminServiceService } from '../generated/pixied/v1/admin_service';
import { BackendServiceService } from '../generated/pixied/v1/backend_service';
import { AckMode } from '../generated/pixied/v1/message';
import { EventKind } from '../generated/pixied/v1/watch';
import { Admin, Backend, ClientUnknown, DeadlineExceeded, EngineUnavailable, FrontEnd, Unavailable } from '../src';
import { callRepeatedly } from '../src/calls';
import { connectTo, type Connection } from '../src/connection';
import { DEFAULT_TIMEOUT_MS, Operations, type CallOptions } from '../src/operations';

const A_DAY = { seconds: 86_400, nanos: 500_000_000 };
const THE_DAY = new Date(86_400_500);
const CLIENT = {
  clientId: 'ann',
  createdAt: A_DAY,
  expiresAt: A_DAY,
  sessionTimeout: { seconds: 1, nanos: 0 },
  subscriptions: 1,
  pending: 2,
  frontEnd: 'there',
  attributes: { user: 'x' },
};
const SHOWN = { ...CLIENT, createdAt: THE_DAY, expiresAt: THE_DAY, sessionTimeout: undefined, sessionTimeoutMs: 1_000 };

/** Operations that keep what they ask. */
class Recorded extends Operations {
  asked: unknown[] = [];
  answer: unknown = {};

  protected override async perform(name: string, request: unknown, options?: CallOptions): Promise<never> {
    this.asked.push([name, request, options?.timeoutMs]);
    return this.answer as never;
  }
}

describe('operations', () => {
  let operations: Recorded;
  beforeEach(() => void (operations = new Recorded()));

  /** What was asked since the last time. */
  const asked = (): unknown[] => operations.asked.splice(0);
  const options = { timeoutMs: 70 };

  it('ask for a namespace', async () => {
    operations.answer = { namespace: 'n' };
    assert.equal(await operations.generateNamespace(), 'n');
    assert.equal(await operations.generateNamespace(7, options), 'n');
    await operations.releaseNamespace('n', options);
    assert.deepEqual(asked(), [
      ['generateNamespace', { length: 0 }, undefined],
      ['generateNamespace', { length: 7 }, 70],
      ['releaseNamespace', { namespace: 'n' }, 70],
    ]);
  });

  it('ask about clients, and show what is known of them', async () => {
    operations.answer = { client: CLIENT };
    const { sessionTimeout, ...shown } = SHOWN;
    assert.deepEqual(await operations.createClient(), shown);
    await operations.createClient({ sessionTimeoutMs: 1_500, attributes: { user: 'x' } }, options);
    assert.deepEqual(await operations.getClient('ann', options), shown);
    assert.deepEqual(asked(), [
      ['createClient', { sessionTimeout: undefined, attributes: {} }, undefined],
      ['createClient', { sessionTimeout: { seconds: 1, nanos: 500_000_000 }, attributes: { user: 'x' } }, 70],
      ['getClient', { clientId: 'ann' }, 70],
    ]);
    const none = { createdAt: undefined, expiresAt: undefined };
    operations.answer = { client: { ...CLIENT, ...none, sessionTimeout: undefined } };
    assert.deepEqual(await operations.getClient('ann'), { ...shown, ...none, sessionTimeoutMs: undefined });
  });

  it('prolong and end sessions', async () => {
    operations.answer = { expiresAt: A_DAY, results: [{ known: true, expiresAt: A_DAY }, { known: false, expiresAt: undefined }] };
    assert.deepEqual(await operations.pingClient('ann', options), THE_DAY);
    assert.deepEqual(await operations.pingClients(['ann', 'bob'], options), [
      { known: true, expiresAt: THE_DAY },
      { known: false, expiresAt: undefined },
    ]);
    operations.answer = { expiresAt: undefined };
    assert.equal(await operations.pingClient('ann'), undefined);
    await operations.destroyClient('ann');
    await operations.destroyClient('ann', 'enough', options);
    assert.deepEqual(asked(), [
      ['pingClient', { clientId: 'ann', clientIds: [] }, 70],
      ['pingClient', { clientId: '', clientIds: ['ann', 'bob'] }, 70],
      ['pingClient', { clientId: 'ann', clientIds: [] }, undefined],
      ['destroyClient', { clientId: 'ann', reason: '' }, undefined],
      ['destroyClient', { clientId: 'ann', reason: 'enough' }, 70],
    ]);
  });

  it('change subscriptions and ask for them', async () => {
    operations.answer = { added: ['/a'], removed: ['/b'], channels: ['/c'], subscribed: true };
    assert.deepEqual(await operations.subscribe('ann', ['/a', '/b'], options), ['/a']);
    assert.deepEqual(await operations.unsubscribe('ann', ['/a', '/b'], options), ['/b']);
    assert.deepEqual(await operations.subscribedTo('ann', options), ['/c']);
    assert.equal(await operations.clientSubscribed('ann', '/a', options), true);
    assert.deepEqual(asked(), [
      ['subscribe', { clientId: 'ann', channels: ['/a', '/b'] }, 70],
      ['unsubscribe', { clientId: 'ann', channels: ['/a', '/b'] }, 70],
      ['subscribedTo', { clientId: 'ann' }, 70],
      ['clientSubscribed', { clientId: 'ann', channel: '/a' }, 70],
    ]);
  });

  it('ask for one page of subscribers, or for all', async () => {
    operations.answer = { clientIds: ['ann'], nextPageToken: '' };
    assert.deepEqual(await operations.subscribersOf('/a'), { clientIds: ['ann'], nextPageToken: '' });
    await operations.subscribersOf('/a', { pageSize: 3, pageToken: 'next', ...options });
    const all: string[] = [];
    for await (const clientId of operations.allSubscribersOf('/a', { pageSize: 3, ...options })) {
      all.push(clientId);
      operations.answer = { clientIds: ['bob'], nextPageToken: '' };
    }
    assert.deepEqual(all, ['ann']);
    operations.answer = { clientIds: ['ann'], nextPageToken: 'next' };
    for await (const clientId of operations.allSubscribersOf('/a')) {
      all.push(clientId);
      operations.answer = { clientIds: ['bob'], nextPageToken: '' };
    }
    assert.deepEqual(all, ['ann', 'ann', 'bob']);
    const page = (pageSize: number, pageToken: string) => ({ channelPattern: '/a', pageSize, pageToken });
    assert.deepEqual(asked(), [
      ['subscribersOf', page(0, ''), undefined],
      ['subscribersOf', page(3, 'next'), 70],
      ['subscribersOf', page(3, ''), 70],
      ['subscribersOf', page(0, ''), undefined],
      ['subscribersOf', page(0, 'next'), undefined],
    ]);
  });

  it('send and take messages', async () => {
    const message = { channel: '/a', data: '1', idempotencyKey: 'key' };
    const sent = { ...message, id: undefined, ext: undefined, extra: undefined, clientId: '', excludePublisher: false };
    operations.answer = { results: ['first', 'second'], pending: 1 };
    assert.deepEqual(await operations.publish([message], options), ['first', 'second']);
    assert.equal(await operations.publishOne(message, options), 'first');
    assert.equal(await operations.queueFor('ann', [message], options), operations.answer);
    assert.deepEqual(asked(), [
      ['publish', { messages: [sent] }, 70],
      ['publish', { messages: [sent] }, 70],
      ['queueFor', { clientId: 'ann', messages: [sent] }, 70],
    ]);
    assert.equal(await operations.dequeueFor('ann'), operations.answer);
    await operations.dequeueFor('ann', { waitMs: 1_500 });
    await operations.dequeueFor('ann', { maxMessages: 3, ackMode: AckMode.EXPLICIT, ackCursor: '7', waitMs: 1, ...options });
    const request = { clientId: 'ann', maxMessages: 0, wait: undefined, ackMode: 0, ackCursor: '' };
    const wait = { seconds: 1, nanos: 500_000_000 };
    const all = { maxMessages: 3, wait: { seconds: 0, nanos: 1_000_000 }, ackMode: AckMode.EXPLICIT, ackCursor: '7' };
    assert.deepEqual(asked(), [
      ['dequeueFor', request, DEFAULT_TIMEOUT_MS],
      ['dequeueFor', { ...request, wait }, DEFAULT_TIMEOUT_MS + 1_500],
      ['dequeueFor', { ...request, ...all }, 70],
    ]);
  });
});

/** What grpc-js reports for a refusal of pixied. */
function refusal(code: Code, reason: string, retryAfterMs?: number): ServiceError {
  const any = (type: string, value: Uint8Array) => ({ typeUrl: `type.googleapis.com/google.rpc.${type}`, value });
  const details = [any('ErrorInfo', ErrorInfo.encode({ reason, domain: 'pixied', metadata: {} }).finish())];
  const nanos = (retryAfterMs ?? 0) * 1e6;
  if (retryAfterMs !== undefined) details.push(any('RetryInfo', RetryInfo.encode({ retryDelay: { seconds: 0, nanos } }).finish()));
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(Status.encode({ code, message: 'refused', details }).finish()));
  return { code, details: 'refused', metadata, name: '', message: '' };
}

const unreachable = (): ServiceError => ({ ...refusal(Code.UNAVAILABLE, ''), metadata: new Metadata() });

describe('a call that is safe to repeat', () => {
  /** How long each attempt might have taken, in milliseconds. */
  let attempts: number[];
  /** What comes of the attempts, in order; after that they succeed. */
  let outcomes: ServiceError[];
  let connection: Connection;

  beforeEach(() => {
    attempts = [];
    outcomes = [];
    const makeUnaryRequest = (...call: unknown[]): void => {
      const { deadline } = call[5] as { deadline: number };
      attempts.push(deadline - Date.now());
      const answer = call[6] as (error: ServiceError | null, response?: unknown) => void;
      const error = outcomes.shift();
      if (error) answer(error);
      else answer(null, { namespace: 'n' });
    };
    connection = { address: 'nowhere:1', client: { makeUnaryRequest } as never };
  });

  const call = (timeoutMs?: number) =>
    callRepeatedly(connection, BackendServiceService.generateNamespace, { length: 0 }, timeoutMs === undefined ? undefined : { timeoutMs });

  it('is made again after the pause that the server asked for, and a random one', async ({ mock }) => {
    mock.method(Math, 'random', () => 1);
    outcomes = [refusal(Code.UNAVAILABLE, 'ENGINE_UNAVAILABLE', 100), unreachable(), unreachable()];
    const began = performance.now();
    assert.deepEqual(await call(), { namespace: 'n' });
    // Timers may be a millisecond early.
    assert(performance.now() - began >= 100 + 50 + 100 + 200 - 5);
    assert.equal(attempts.length, 4);
    assert(attempts[0]! > 5_000 && attempts[0]! <= 10_000);
    assert(attempts[3]! <= attempts[0]! - 400);
  });

  it('is not made again for anything else', async () => {
    outcomes = [refusal(Code.NOT_FOUND, 'CLIENT_UNKNOWN')];
    await assert.rejects(call(), ClientUnknown);
    assert.equal(attempts.length, 1);
  });

  it('is not made again where its time would be over', async ({ mock }) => {
    mock.timers.enable({ apis: ['Date'], now: 1_000 });
    mock.method(Math, 'random', () => 1);
    for (const [timeoutMs, count] of [
      [150, 1],
      [151, 2],
    ] as const) {
      attempts = [];
      outcomes = [refusal(Code.UNAVAILABLE, 'ENGINE_UNAVAILABLE', 100)];
      const outcome = call(timeoutMs);
      if (count === 1) await assert.rejects(outcome, EngineUnavailable);
      else await outcome;
      assert.deepEqual(attempts, Array(count).fill(timeoutMs));
    }
  });
});

describe('a connection', () => {
  it('goes to one address, or to several IP addresses of one kind', () => {
    for (const [address, target] of [
      ['10.0.0.1:1, 10.0.0.2:22', 'ipv4:10.0.0.1:1,10.0.0.2:22'],
      ['[::1]:1,[::2]:22', 'ipv6:[::1]:1,[::2]:22'],
      ['ipv4:10.0.0.1:1,10.0.0.2:1', 'ipv4:10.0.0.1:1,10.0.0.2:1'],
      ['ipv6:[::1]:1,[::2]:1', 'ipv6:[::1]:1,[::2]:1'],
      ['localhost:1', 'dns:localhost:1'],
      ['unix:///a', 'unix:///a'],
    ] as const) {
      const { client } = connectTo(address);
      assert.equal(client.getChannel().getTarget(), target);
      client.close();
    }
  });

  it('goes to no list of anything else', () => {
    for (const address of [
      'localhost:1,10.0.0.1:1',
      '10.0.0.1,10.0.0.2',
      '10.0.0.1:1,[::1]:1',
      '10.0.0.1:1,ipv4:10.0.0.2:1',
      '10.0.0.1:1x,10.0.0.2:1x',
      '10.0.0.1:1,x\n10.0.0.2:1',
    ]) {
      assert.throws(() => connectTo(address), RangeError);
    }
  });

  it('goes to this machine unless told otherwise', async () => {
    const frontEnd = new FrontEnd();
    assert.equal(frontEnd.address, '127.0.0.1:50051');
    await frontEnd.close();
  });
});

describe('single calls', () => {
  let server: Server;
  let address: string;
  /** The calls that the server got. */
  let got: unknown[];
  let backend: Backend;
  let admin: Admin;

  before(async () => {
    server = new Server();
    const answering = (name: string, response: unknown) => (call: { request: unknown }, answer: (error: null, response: unknown) => void) => {
      got.push([name, call.request]);
      answer(null, response);
    };
    server.addService(AdminServiceService, {
      getInfo: answering('getInfo', { version: '1', engine: 'memory', startedAt: A_DAY, draining: true }),
      listClients: (call: { request: { pageToken: string } }, answer: (error: null, response: unknown) => void) => {
        got.push(['listClients', call.request]);
        answer(null, { clients: [CLIENT], nextPageToken: call.request.pageToken === '' ? 'next' : '' });
      },
      listChannels: (call: { request: { pageToken: string } }, answer: (error: null, response: unknown) => void) => {
        got.push(['listChannels', call.request]);
        answer(null, { channels: [{ channel: '/a', subscribers: 1, messages: 0, bytes: 0 }], nextPageToken: call.request.pageToken === '' ? 'next' : '' });
      },
      drain: answering('drain', { streams: 3 }),
    } as never);
    const large = { messages: [{ channel: '/a', data: JSON.stringify('x'.repeat(5_000_000)) }], cursor: '', redelivered: 0, lost: 0, gaps: [] };
    server.addService(
      {
        deliver: BackendServiceService.deliver,
        watch: BackendServiceService.watch,
        getClient: BackendServiceService.getClient,
        createClient: BackendServiceService.createClient,
        destroyClient: BackendServiceService.destroyClient,
      },
      {
        deliver: (call: { request: unknown; write(response: unknown): void; end(): void }) => {
          got.push(['deliver', call.request]);
          call.write(large);
          call.end();
        },
        watch: (call: { request: unknown; write(response: unknown): void }) => {
          got.push(['watch', call.request]);
          call.write({ events: [], missed: 0 });
        },
        getClient: () => undefined,
        destroyClient: () => undefined,
        createClient: (_call: unknown, answer: (error: unknown) => void) => answer({ code: Code.UNAVAILABLE, details: 'away' }),
      } as never,
    );
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
    );
    address = `127.0.0.1:${port}`;
    backend = new Backend(address);
    admin = new Admin(address);
  });
  beforeEach(() => void (got = []));
  after(() => {
    backend.close();
    admin.close();
    server.forceShutdown();
  });

  it('of an operator ask for what is wanted', async () => {
    const { startedAt, draining } = await admin.getInfo();
    assert.deepEqual([startedAt, draining], [THE_DAY, true]);
    await admin.listClients({ channelPattern: '/a', frontEnd: 'there', pageSize: 3, pageToken: 'next' });
    const { items } = await admin.listClients();
    await admin.listChannels({ channelPattern: '/a', pageSize: 3, pageToken: 'next' });
    await admin.listChannels();
    assert.equal(items[0]?.sessionTimeoutMs, 1_000);
    assert.equal(await admin.drain(), 3);
    assert.equal(await admin.drain(1_500, { timeoutMs: 9_000 }), 3);
    const page = { channelPattern: '/a', pageSize: 3, pageToken: 'next' };
    const any = { channelPattern: '', pageSize: 0, pageToken: '' };
    assert.deepEqual(got, [
      ['getInfo', {}],
      ['listClients', { ...page, frontEnd: 'there' }],
      ['listClients', { ...any, frontEnd: '' }],
      ['listChannels', page],
      ['listChannels', any],
      ['drain', { grace: undefined }],
      ['drain', { grace: { seconds: 1, nanos: 500_000_000 } }],
    ]);
  });

  it('of an operator list everything, page after page', async () => {
    const found: string[] = [];
    for await (const { clientId } of admin.allClients({ frontEnd: 'there' })) found.push(clientId);
    for await (const { channel } of admin.allChannels({ pageSize: 1 })) found.push(channel);
    assert.deepEqual(found, ['ann', 'ann', '/a', '/a']);
    const any = { channelPattern: '', pageSize: 0, pageToken: '' };
    assert.deepEqual(got, [
      ['listClients', { ...any, frontEnd: 'there' }],
      ['listClients', { ...any, frontEnd: 'there', pageToken: 'next' }],
      ['listChannels', { ...any, pageSize: 1 }],
      ['listChannels', { ...any, pageSize: 1, pageToken: 'next' }],
    ]);
  });

  it('stream messages of any size that a server may admit', async () => {
    for (const options of [undefined, { ackMode: AckMode.EXPLICIT, ackCursor: '7' }]) {
      for await (const { messages } of backend.deliver('ann', options)) assert.equal(messages[0]?.data.length, 5_000_002);
    }
    assert.deepEqual(got, [
      ['deliver', { clientId: 'ann', ackMode: 0, ackCursor: '' }],
      ['deliver', { clientId: 'ann', ackMode: AckMode.EXPLICIT, ackCursor: '7' }],
    ]);
  });

  it('stream the events that are wanted, until the signal aborts, and leave nothing on it', async () => {
    const { signal } = new AbortController();
    for await (const _ of backend.watch({ signal })) break;
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    const stop = new AbortController();
    const wish = { kinds: [EventKind.SUBSCRIBED], channelPattern: '/a', clientId: 'ann' };
    for await (const _ of backend.watch({ ...wish, signal: stop.signal })) stop.abort();
    for await (const _ of backend.watch({ signal: stop.signal })) assert.fail('it was aborted before');
    assert.deepEqual(got, [
      ['watch', { kinds: [], channelPattern: '', clientId: '' }],
      ['watch', wish],
    ]);
  });

  it('fail in time when there is no answer, and say what was not answered', async () => {
    for (const outcome of [backend.getClient('ann', { timeoutMs: 50 }), backend.destroyClient('ann', '', { timeoutMs: 50 })]) {
      await assert.rejects(outcome, (error) => error instanceof DeadlineExceeded && /Client was not answered within/.test(error.message));
    }
  });

  it('say where it was that they failed', async () => {
    await assert.rejects(backend.createClient(), (error) => error instanceof Unavailable && error.message.includes(address));
    const nowhere = new Backend('127.0.0.1:1');
    const stream = async (): Promise<void> => {
      for await (const _ of nowhere.deliver('ann')) assert.fail('nothing is there');
    };
    await assert.rejects(stream(), (error) => error instanceof Unavailable && error.message.includes('127.0.0.1:1'));
    nowhere.close();
  });

  it('go over the connection that the credentials say', async () => {
    const options = { credentials: credentials.createSsl() };
    const secret = [new Backend(address, options), new Admin(address, options)] as const;
    await assert.rejects(secret[0].createClient(), Unavailable);
    await assert.rejects(secret[1].getInfo({ timeoutMs: 500 }), Unavailable);
    for (const each of secret) each.close();
  });

  it('are over when the connection is closed', async () => {
    const closed = [new Backend(address), new Admin(address)] as const;
    for (const each of closed) each.close();
    const { length } = got;
    await assert.rejects(closed[0].deliver('ann').next());
    await assert.rejects(closed[1].getInfo());
    assert.equal(got.length, length);
  });
});
