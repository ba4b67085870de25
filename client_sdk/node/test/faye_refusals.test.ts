// The Faye engine on a pixied that refuses, reports and goes away as a test wants.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';

import { credentials, status as Code } from '@grpc/grpc-js';

import { ErrorInfo } from '../generated/google/rpc/error_details';
import type { Status } from '../generated/google/rpc/status';
import type { Client } from '../generated/pixied/v1/operations';
import { EventKind, type Event } from '../generated/pixied/v1/watch';
import { create, type FayeEngine, type FayeEngineOptions, type FayeMessage, type FayeServer } from '../src/faye';
import { AWAY } from '../src/faye/replies';
import type { FayeExtension } from '../src/faye/server';
import { until, untilEqual } from './until';
import { Puppet, type Answer, type Asked } from './puppet';
import { turn } from './scripted';

const BY_ANOTHER = 'destroyed by its Faye server';

/** A Faye server as its engine sees it. */
class Host {
  readonly events: unknown[][] = [];
  /** What was logged but for debugging, by level. */
  readonly log: string[] = [];
  /** And what was logged for debugging. */
  readonly debugged: string[] = [];
  /** Who has a connection. */
  readonly connections = new Set<string>();
  readonly extensions: FayeExtension[] = [];
  /** The context of Faye's callbacks. */
  readonly protocol = { addExtension: (extension: FayeExtension) => void this.extensions.push(extension) };
  readonly engine: FayeEngine;

  constructor(address: string, options: FayeEngineOptions = {}, timeout: unknown = 20) {
    const note = (level: string) => (text: string, ...values: readonly unknown[]) =>
      void this.log.push([level, text, ...values].join('|'));
    const server: Partial<FayeServer> = {
      timeout,
      debug: (text: string, ...values: readonly unknown[]) => void this.debugged.push([text, ...values].join('|')),
      info: note('info'),
      warn: note('warn'),
      error: note('error'),
      trigger: (...event: unknown[]) => void this.events.push(event),
      bind: () => undefined,
      unbind: () => undefined,
      hasConnection: (clientId: string) => this.connections.has(clientId),
      connection: () => undefined,
      flushConnection: () => undefined,
    };
    this.engine = create(server as FayeServer, { address, ...options });
  }

  createClient(): Promise<string | undefined> {
    return new Promise((resolve) => this.engine.createClient(resolve, this.protocol));
  }

  clientExists(clientId: unknown): Promise<boolean> {
    return new Promise((resolve) => this.engine.clientExists(clientId, resolve, this.protocol));
  }

  destroyClient(clientId: string): Promise<void> {
    return new Promise((resolve) => this.engine.destroyClient(clientId, resolve));
  }

  subscribe(clientId: string, channel: string): Promise<boolean> {
    return new Promise((resolve) => this.engine.subscribe(clientId, channel, resolve));
  }

  unsubscribe(clientId: string, channel: string): Promise<boolean> {
    return new Promise((resolve) => this.engine.unsubscribe(clientId, channel, resolve));
  }

  /** What a client is answered. */
  reply({ channel, clientId, id, subscription }: FayeMessage): Promise<FayeMessage> {
    const reply = { channel, clientId, id, subscription, successful: true } as FayeMessage;
    return new Promise((resolve) => this.extensions[0]!.outgoing(reply, resolve));
  }
}

describe('the Faye engine', () => {
  let puppet: Puppet;
  let host: Host;
  /** What pixied answers instead, by the name of the operation. */
  let answers: Record<string, (asked: Asked) => Answer>;

  beforeEach(async () => {
    answers = {};
    puppet = await Puppet.start();
    puppet.answer = (asked) => (answers[asked.$case] ?? succeed)(asked);
    host = new Host(puppet.address);
  });
  afterEach(async () => {
    await host.engine.disconnect();
    puppet.dispose();
  });

  async function begin(options: FayeEngineOptions, timeout?: unknown): Promise<void> {
    await host.engine.disconnect();
    host = new Host(puppet.address, options, timeout);
  }

  const names = (): string[] => puppet.asked.map(({ $case }) => $case);
  const requests = (name: string): unknown[] => puppet.asked.filter(({ $case }) => $case === name).map(({ value }) => value);
  /** Waits until all that was asked before has been answered. */
  async function settle(): Promise<void> {
    await host.clientExists('witness');
    await turn();
  }

  it('watches nothing but the ends of sessions and of subscriptions', async () => {
    await until('it watches', () => puppet.watches.length === 1);
    const { kinds } = puppet.watches[0]!.request;
    assert.deepEqual(kinds, [EventKind.UNSUBSCRIBED, EventKind.CLIENT_DESTROYED]);
  });

  it('presents itself, and takes as much at once, as its options say', async () => {
    await begin({ name: 'edge', window: 7 });
    await until('it says so', () => puppet.links.some(({ name, window }) => name === 'edge' && window === 7));
  });

  it('goes over the connection that the credentials say, and over no other', async () => {
    await begin({ credentials: credentials.createSsl(), operationTimeout: 500 });
    const before = puppet.asked.length;
    assert.equal(await host.createClient(), undefined);
    assert.equal(puppet.asked.length, before);
  });

  it("creates sessions of twice Faye's timeout, or of pixied's", async () => {
    assert.equal(await host.createClient(), 'ann');
    await begin({}, 'none');
    await host.createClient();
    assert.deepEqual(
      requests('createClient').map((request) => (request as { sessionTimeout: unknown }).sessionTimeout),
      [{ seconds: 40, nanos: 0 }, undefined],
    );
    assert.deepEqual(host.events, [['handshake', 'ann']]);
  });

  it('gives no client id when it is refused one, and says so', async () => {
    answers['createClient'] = () => refusal('LIMIT_CLIENTS', Code.RESOURCE_EXHAUSTED);
    assert.equal(await host.createClient(), undefined);
    assert.deepEqual(host.events, []);
    assert.deepEqual(host.log, ['error|Could not ?: ?|create a client|LimitClients: refused']);
  });

  it('believes that a session lives unless it knows better', async () => {
    for (const clientId of ['Not an id', '', 7, undefined]) assert.equal(await host.clientExists(clientId), false);
    assert.deepEqual(names(), []);
    assert.equal(await host.clientExists('ann'), true);
    answers['getClient'] = () => refusal('CLIENT_UNKNOWN', Code.NOT_FOUND);
    assert.equal(await host.clientExists('ann'), false);
    assert.deepEqual(host.log, []);
    answers['getClient'] = () => refusal('INTERNAL', Code.INTERNAL);
    assert.equal(await host.clientExists('ann'), true);
    assert.deepEqual(host.log, ['error|Could not ?: ?|look for a client|InternalError: refused']);
  });

  it('ends a session in its own name, with the subscriptions that it had', async () => {
    await host.destroyClient('ann');
    assert.deepEqual(requests('destroyClient'), [{ clientId: 'ann', reason: BY_ANOTHER }]);
    assert.deepEqual(host.events, [['unsubscribe', 'ann', '/had'], ['disconnect', 'ann'], ['close', 'ann']]);
    await host.destroyClient('ann');
    host.engine.destroyClient('bob');
    host.engine.destroyClient('Not an id');
    await settle();
    assert.deepEqual(requests('destroyClient').length, 2);
    assert.deepEqual(host.log, []);
  });

  it('raises nothing for a session that it could not end, until that ends otherwise', async () => {
    host.engine.ping('bob');
    await settle();
    answers['destroyClient'] = () => refusal('INTERNAL', Code.INTERNAL);
    await host.destroyClient('ann');
    await settle();
    assert.deepEqual([host.events, host.log], [[], ['error|Could not ?: ?|destroy a client|InternalError: refused']]);
    answers['destroyClient'] = () => refusal('CLIENT_UNKNOWN', Code.NOT_FOUND);
    await host.destroyClient('bob');
    assert.deepEqual([host.events, host.log.length], [[], 1]);
    puppet.report(destroyed('ann', 'timed out'), destroyed('bob', 'timed out'));
    await untilEqual(() => host.events, [['close', 'ann'], ['close', 'bob']]);
  });

  it('prolongs sessions, and says nothing of those that are over', async () => {
    host.engine.ping('ann');
    host.engine.ping('Not an id');
    await settle();
    assert.deepEqual(requests('pingClient'), [{ clientId: 'ann', clientIds: [] }]);
    answers['pingClient'] = () => refusal('CLIENT_UNKNOWN', Code.NOT_FOUND);
    host.engine.ping('ann');
    await settle();
    assert.deepEqual(host.log, []);
    answers['pingClient'] = () => refusal('INTERNAL', Code.INTERNAL);
    host.engine.ping('ann');
    await untilEqual(() => host.log, ['error|Could not ?: ?|ping a client|InternalError: refused']);
  });

  it('reports a refused subscription to the subscriber, in the reply, and in its log', async () => {
    await host.createClient();
    answers['subscribe'] = answers['unsubscribe'] = () => refusal('LIMIT_SUBSCRIPTIONS', Code.RESOURCE_EXHAUSTED);
    for (const [deed, done] of [
      ['subscribe', host.subscribe('ann', '/a')],
      ['unsubscribe', host.unsubscribe('ann', '/a')],
    ] as const) {
      const reply = await host.reply({ channel: `/meta/${deed}`, clientId: 'ann', subscription: '/a' });
      assert.deepEqual([reply.successful, reply.error, await done], [false, '429::Limit reached', false]);
    }
    assert.deepEqual(host.events, [['handshake', 'ann']]);
    assert.deepEqual(
      host.log,
      ['subscribe', 'unsubscribe'].map((deed) => `error|Could not ?: ?|${deed} a client|LimitSubscriptions: refused`),
    );
  });

  it('subscribes without being asked to call back', async () => {
    host.engine.subscribe('ann', '/a');
    host.engine.unsubscribe('ann', '/a');
    await settle();
    assert.deepEqual(host.events, [['subscribe', 'ann', '/a'], ['unsubscribe', 'ann', '/a']]);
    assert.deepEqual(host.log, []);
  });

  it('brings private messages through a pattern only if pixied has taken that', async () => {
    const audience = async (): Promise<unknown[]> => {
      const { length } = requests('queueFor');
      host.engine.publish({ channel: '/service/x', data: 1 });
      await settle();
      return requests('queueFor').slice(length).map((request) => (request as { clientId: string }).clientId);
    };
    await host.subscribe('ann', '/**');
    answers['subscribe'] = () => refusal('LIMIT_SUBSCRIPTIONS', Code.RESOURCE_EXHAUSTED);
    for (const clientId of ['ann', 'bob']) assert.equal(await host.subscribe(clientId, '/**'), false);
    assert.deepEqual(await audience(), ['ann']);
  });

  it('delivers private messages as often as they are published', async () => {
    await host.subscribe('ann', '/service/x');
    await host.subscribe('bob', '/service/*');
    assert.deepEqual(names(), []);
    answers['queueFor'] = ({ value }) =>
      (value as { clientId: string }).clientId === 'bob' ? refusal('CLIENT_UNKNOWN', Code.NOT_FOUND) : succeed({ $case: 'queueFor' } as Asked);
    await host.createClient();
    const message = { channel: '/service/x', data: 1, id: '7', clientId: 'ann' };
    for (const _ of [1, 2]) {
      host.engine.publish(message);
      assert.equal((await host.reply(message)).successful, true);
    }
    const queued = requests('queueFor') as { clientId: string; messages: { idempotencyKey: string }[] }[];
    assert.deepEqual(queued.map(({ clientId }) => clientId), ['ann', 'bob', 'ann', 'bob']);
    assert.equal(new Set(queued.map(({ messages }) => messages[0]!.idempotencyKey)).size, 4);
    assert.deepEqual(host.log, []);
  });

  it('answers a publish with its refusal', async () => {
    await host.createClient();
    answers['publish'] = answers['queueFor'] = () => refusal('LIMIT_MEMORY', Code.RESOURCE_EXHAUSTED);
    await host.subscribe('ann', '/service/x');
    for (const channel of ['/a', '/service/x']) {
      host.engine.publish({ channel, data: 1, clientId: 'ann', id: '7' });
      const reply = await host.reply({ channel, clientId: 'ann', id: '7' });
      assert.deepEqual([reply.successful, reply.error], [false, '429::Limit reached']);
    }
    const line = 'error|Could not ?: ?|publish a message|LimitMemory: refused';
    assert.deepEqual(host.log, [line, line]);
  });

  it('takes the same message of a client for a retry, unless told not to', async () => {
    const keys = async (options: FayeEngineOptions): Promise<string[]> => {
      await begin(options);
      const { length } = requests('publish');
      for (const _ of [1, 2]) host.engine.publish({ channel: '/a', data: 1, clientId: 'ann', id: '7' });
      await settle();
      const published = requests('publish').slice(length) as { messages: { idempotencyKey: string }[] }[];
      return published.map(({ messages }) => messages[0]!.idempotencyKey);
    };
    for (const [options, count] of [
      [{}, 1],
      [{ deduplicate: true }, 1],
      [{ deduplicate: false }, 2],
    ] as const) {
      assert.equal(new Set(await keys(options)).size, count);
    }
  });

  it('raises the end of a session where it was created, but for one that another server has ended', async () => {
    await host.createClient();
    answers['createClient'] = () => succeed({ $case: 'createClient' } as Asked, 'bob');
    await host.createClient();
    for (const clientId of ['ann', 'bob', 'eve']) await host.subscribe(clientId, '/service/x');
    host.events.length = 0;
    puppet.report(
      unsubscribed('ann', '/a'),
      destroyed('ann', 'timed out'),
      unsubscribed('bob', '/b'),
      destroyed('bob', BY_ANOTHER),
      unsubscribed('eve', '/e'),
      destroyed('eve', 'by an operator'),
    );
    await untilEqual(
      () => host.events,
      [
        ['unsubscribe', 'ann', '/a'],
        ['unsubscribe', 'ann', '/service/x'],
        ['disconnect', 'ann'],
        ['close', 'ann'],
        ['unsubscribe', 'bob', '/service/x'],
        ['close', 'bob'],
        ['unsubscribe', 'eve', '/service/x'],
        ['close', 'eve'],
      ],
    );
  });

  it('looks at each session that matters here when it may have missed ends', async () => {
    const created = Array.from({ length: 501 }, (_, i) => `client${i}`);
    for (const clientId of created) {
      answers['createClient'] = () => succeed({ $case: 'createClient' } as Asked, clientId);
      await host.createClient();
    }
    await host.subscribe('private', '/service/x');
    host.events.length = 0;
    answers['getClient'] = ({ value }) =>
      ['client500', 'private'].includes((value as { clientId: string }).clientId)
        ? refusal('CLIENT_UNKNOWN', Code.NOT_FOUND)
        : succeed({ $case: 'getClient' } as Asked);
    puppet.watches.at(-1)!.write({ events: [], missed: 1, closing: undefined });
    await until('both are gone', () => host.events.filter(([event]) => event === 'close').length === 2);
    const looked = requests('getClient').map((request) => (request as { clientId: string }).clientId);
    assert.deepEqual(looked, [...created, 'private']);
    assert.deepEqual(host.events, [
      ['disconnect', 'client500'],
      ['close', 'client500'],
      ['unsubscribe', 'private', '/service/x'],
      ['close', 'private'],
    ]);
    assert.deepEqual(host.log, []);
  });

  it('attaches a client that Faye has a connection for, and no other', async () => {
    await settle();
    host.connections.add('ann');
    host.engine.emptyQueue('bob');
    host.engine.emptyQueue('ann');
    await untilEqual(() => puppet.link.commands, ['hello', 'attach 1']);
  });

  it('looks for the end of a session that turns out to be over', async () => {
    await host.createClient();
    host.events.length = 0;
    host.connections.add('ann');
    host.engine.emptyQueue('ann');
    await untilEqual(() => puppet.link.commands, ['hello', 'attach 1']);
    const answer = refusal('CLIENT_UNKNOWN', Code.NOT_FOUND);
    puppet.link.send({ $case: 'attachFailed', value: { handle: 1, error: answer.value as Status } });
    await untilEqual(() => host.events, [['disconnect', 'ann'], ['close', 'ann']]);
    assert.deepEqual(host.log, []);
  });

  it('asks nothing more once it is disconnected', async () => {
    await host.createClient();
    await host.engine.disconnect();
    assert.equal(await host.createClient(), undefined);
    assert.match(host.log[0]!, /this front-end has been closed$/);
  });

  it('logs no client id in full, and nothing of a message', async () => {
    const secret = 'secret0123456789';
    answers['createClient'] = (asked) => succeed(asked, secret);
    const message = { channel: '/a', clientId: secret, data: 'private', id: '1' };
    const work = async (): Promise<void> => {
      await host.createClient();
      await host.clientExists(secret);
      for (const channel of ['/a', '/service/a']) {
        await host.subscribe(secret, channel);
        host.engine.publish({ ...message, channel });
        await host.unsubscribe(secret, channel);
      }
      host.engine.ping(secret);
      await settle();
      await host.destroyClient(secret);
    };
    await work();
    const refused = ['createClient', 'getClient', 'pingClient', 'subscribe', 'unsubscribe', 'publish', 'destroyClient'];
    for (const name of refused) answers[name] = () => refusal('INTERNAL', Code.INTERNAL);
    await work();
    assert.deepEqual([host.debugged.length > 5, host.log.length > 5], [true, true]);
    const lines = [...host.debugged, ...host.log];
    assert.deepEqual(
      lines.filter((line) => line.includes(secret) || line.includes('private')),
      [],
    );
  });

  it('logs once that pixied is away, refuses what is asked meanwhile, and logs that it is back', async () => {
    await begin({ operationTimeout: 1_500 });
    await until('it serves', async () => (await host.createClient()) === 'ann');
    host.events.length = host.log.length = 0;
    const port = Number(puppet.address.split(':')[1]);
    puppet.dispose();
    // Until pixied is known to be away this waits, and fails with everything else.
    host.engine.ping('ann');
    await until('it is away', () => host.log.some((line) => line.includes('is away')));
    assert(host.log[0]!.startsWith(`error|pixied at ? is away: ?|${puppet.address}|`));
    assert.equal(await host.createClient(), undefined);
    assert.equal(await host.clientExists('ann'), true);
    host.engine.ping('ann');
    const message: FayeMessage = { channel: '/a', data: 1 };
    host.engine.publish(message);
    assert.equal(message.error, AWAY);
    const refused: FayeMessage = { channel: '/a', error: 'wrong' };
    host.engine.publish(refused);
    assert.equal(refused.error, 'wrong');
    const incoming: FayeMessage = { channel: '/meta/connect' };
    host.extensions[0]!.incoming(incoming, () => undefined);
    assert.equal(incoming.error, AWAY);
    puppet = await Puppet.start(port);
    puppet.answer = succeed;
    await until('it is back', () => host.log.some((line) => line.includes('is back')));
    assert.deepEqual([host.log[1], host.log.length, host.events], [`info|pixied at ? is back|${puppet.address}`, 2, []]);
    await until('it serves again', async () => (await host.createClient()) === 'ann');
    assert.deepEqual(requests('pingClient'), []);
  });
});

function event(kind: EventKind, clientId: string, more: Partial<Event>): Event {
  const at = { seconds: 1, nanos: 0 };
  return { at, kind, clientId, channel: '', reason: '', messageId: '', recipients: 0, frontEnd: '', ...more };
}

const destroyed = (clientId: string, reason: string) => event(EventKind.CLIENT_DESTROYED, clientId, { reason });
const unsubscribed = (clientId: string, channel: string) => event(EventKind.UNSUBSCRIBED, clientId, { channel });

function refusal(reason: string, code: Code): Answer {
  const info = ErrorInfo.encode({ reason, domain: 'pixied', metadata: {} }).finish();
  const details = [{ typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: info }];
  return { $case: 'error', value: { code, message: 'refused', details } };
}

/** What a pixied with one client, ann, would answer. */
function succeed({ $case, value }: Asked, clientId = 'ann'): Answer {
  const client: Client = {
    clientId,
    createdAt: undefined,
    expiresAt: undefined,
    sessionTimeout: undefined,
    subscriptions: 0,
    pending: 0,
    frontEnd: '',
    attributes: {},
  };
  const channels = (value as { channels?: string[] } | undefined)?.channels ?? ['/had'];
  const values = {
    createClient: { client },
    getClient: { client },
    pingClient: { expiresAt: undefined, results: [] },
    destroyClient: { destroyed: true },
    subscribe: { added: channels },
    unsubscribe: { removed: channels },
    subscribedTo: { channels },
    queueFor: { pending: 1, duplicates: 0 },
    publish: { results: [{ matchedSubscriptions: 0, duplicate: false }] },
  };
  return { $case, value: values[$case as keyof typeof values] } as Answer;
}
