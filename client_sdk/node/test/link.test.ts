// A front-end's clients on a stream that a test plays.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';

import { connectivityState, status as Code } from '@grpc/grpc-js';

import { AttachCommand, DetachReason, type AttachEvent } from '../generated/pixied/v1/attach';
import { RetryInfo } from '../generated/google/rpc/error_details';
import { AckMode, type Message } from '../generated/pixied/v1/message';
import { FieldInvalid, PixiedError, type AttachHandlers, type AttachOptions, type Batch, type DeliveryInfo, type Detached } from '../src';
import { Link } from '../src/link';
import { ScriptedConnection, turn } from './scripted';

type Said = NonNullable<AttachEvent['event']>;

const WELCOME: Said = {
  $case: 'welcome',
  value: {
    serverVersion: '1',
    heartbeatInterval: { seconds: 10, nanos: 0 },
    silenceLimit: { seconds: 30, nanos: 0 },
    window: 64,
    maxCommands: 1_000,
    maxClients: 1_000,
    maxMessageBytes: 1_000,
  },
};
const detached = (handle: number, reason: DetachReason, detail = ''): Said => ({
  $case: 'detached',
  value: { handle, reason, detail },
});
const attached = (...handles: number[]): Said => ({ $case: 'attached', value: { handles } });
const refused = (handle: number, code: Code, delayMs?: number): Said => {
  const value = RetryInfo.encode({ retryDelay: { seconds: 0, nanos: (delayMs ?? 0) * 1e6 } }).finish();
  const details = delayMs === undefined ? [] : [{ typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value }];
  return { $case: 'attachFailed', value: { handle, error: { code, message: 'refused', details } } };
};
const delivery = (number: number, ...handles: number[]): Said => {
  const message = { channel: '/a', data: String(number) } as Message;
  return {
    $case: 'delivery',
    value: { number, batches: handles.map((handle) => ({ messages: [message], handles: [handle], redelivered: false, cursor: number })) },
  };
};

describe('a link', () => {
  let scripted: ScriptedConnection;
  let link: Link;
  let now: number;
  let isClosed: boolean;
  /** What its owner does when it comes up. */
  let onUp: () => void;
  /** What the link's listener received, and what its clients did. */
  let news: unknown[];

  beforeEach(async () => {
    now = 1_000;
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    mock.method(performance, 'now', () => now);
    // The shortest of the pauses that chance may choose.
    mock.method(Math, 'random', () => 0);
    isClosed = false;
    onUp = () => undefined;
    await begin();
    await say(WELCOME);
    news.length = 0;
  });
  afterEach(async () => {
    if (!isClosed) await close();
    mock.reset();
  });

  async function begin(onBatch?: (batch: Batch) => void | Promise<void>): Promise<void> {
    scripted = new ScriptedConnection();
    news = [];
    link = new Link(scripted.connection, { name: 'under test', window: 7, onBatch }, {
      up: ({ serverVersion }) => {
        news.push(`up ${serverVersion}`);
        onUp();
      },
      down: ({ message }) => void news.push(`down: ${message}`),
      gap: (clientId, { lost }) => void news.push(`${clientId} lost ${lost}`),
      detached: (clientId, { reason }) => void news.push(`${clientId} ${reason}`),
    });
    await turn();
  }

  /** Lets the server say something, and what it causes go out. */
  async function say(...events: Said[]): Promise<void> {
    scripted.call.emit('data', { events: events.map((event) => ({ event })) });
    await flush();
  }

  async function flush(): Promise<void> {
    for (let i = 0; i < 3; i += 1) {
      await turn();
      scripted.call.flush();
    }
  }

  async function pass(milliseconds: number): Promise<void> {
    now += milliseconds;
    mock.timers.tick(milliseconds);
    await flush();
  }

  /** Breaks the stream, and waits until the next one stands and was welcomed. */
  async function renew(): Promise<void> {
    scripted.call.break(Code.UNAVAILABLE, 'it broke');
    await pass(5_000);
    await say(WELCOME);
  }

  /** Closes it as a server that reads everything lets it. */
  async function close(): Promise<void> {
    isClosed = true;
    const closed = link.close(2_000);
    for (let i = 0; i < 5; i += 1) await flush();
    scripted.call.emit('end');
    await closed;
  }

  function attach(clientId: string, onMessages?: AttachHandlers['onMessages'], options: AttachOptions = {}) {
    const onDetached = (detached: Detached): void => void ends.push(detached);
    const ends: Detached[] = [];
    const attachment = link.attach(clientId, options, { onMessages: onMessages ?? (() => undefined), onDetached });
    return { attachment, ends };
  }

  /** The commands that went out on a stream after its greeting. */
  function commands(stream = scripted.calls.length): string[] {
    return scripted.calls[stream - 1]!.frames
      .flat()
      .map(({ bytes }) => AttachCommand.decode(bytes).command!)
      .filter(({ $case }) => $case !== 'hello')
      .map(({ $case, value }) => [$case, ...numbersOf(value)].join(' '));
  }

  const frames = (): unknown[] => scripted.call.frames.map((frame) => frame.length);

  it('greets with its name and its window, and attaches nobody before it is welcomed', async () => {
    await close();
    await begin();
    isClosed = false;
    attach('ann');
    await flush();
    const [hello, ...others] = scripted.call.frames.flat().map(({ bytes }) => AttachCommand.decode(bytes).command);
    assert.deepEqual([hello, others], [{ $case: 'hello', value: { frontEnd: 'under test', window: 7 } }, []]);
    await say(WELCOME);
    assert.deepEqual([commands(), news], [['attach 1'], ['up 1']]);
  });

  it('attaches clients as they want it', async () => {
    attach('ann');
    attach('bob', undefined, { ackMode: 'explicit', expires: true, ackCursor: 7 });
    await flush();
    const asked = scripted.call.frames.flat().map(({ bytes }) => AttachCommand.decode(bytes).command);
    assert.deepEqual(asked.slice(1), [
      { $case: 'attach', value: { clientId: 'ann', handle: 1, ackMode: AckMode.AUTO, expires: false, ackCursor: 0 } },
      { $case: 'attach', value: { clientId: 'bob', handle: 2, ackMode: AckMode.EXPLICIT, expires: true, ackCursor: 7 } },
    ]);
  });

  it('puts no more commands into a frame than the server takes', async () => {
    await say({ ...WELCOME, value: { ...WELCOME.value, maxCommands: 2 } } as Said);
    const { length } = scripted.call.frames;
    for (const clientId of ['a', 'b', 'c']) attach(clientId);
    await flush();
    assert.deepEqual(frames().slice(length), [2, 1]);
  });

  it('confirms what was handled in one turn once', async () => {
    attach('ann');
    await say(attached(1));
    await say(delivery(1, 1), delivery(2, 1), delivery(3, 1));
    await say(delivery(4, 1));
    assert.deepEqual(commands(), ['attach 1', 'ack 3', 'ack 4']);
  });

  it('keeps confirmations apart that have other commands between them', async () => {
    attach('ann');
    await say(attached(1));
    scripted.call.emit('data', { events: [{ event: delivery(1, 1) }] });
    attach('bob');
    await say(delivery(2, 1));
    assert.deepEqual(commands(), ['attach 1', 'ack 1', 'attach 2', 'ack 2']);
  });

  it('answers heartbeats, and nothing else that says nothing', async () => {
    await say({ $case: 'heartbeat', value: {} });
    scripted.call.emit('data', { events: [{ event: undefined }] });
    await flush();
    assert.deepEqual(commands(), ['heartbeat']);
  });

  it('notifies a client of what it has lost, unless it is about to leave', async () => {
    const gaps: number[] = [];
    const ann = link.attach('ann', {}, { onMessages: () => undefined, onGap: ({ lost }) => void gaps.push(lost) });
    link.attach('bob', {}, { onMessages: () => undefined });
    await say(attached(1, 2));
    const gap: Said = { $case: 'gap', value: { handles: [1, 2, 3], gap: { channel: '/a', lost: 5 } as never } };
    await say(gap);
    assert.deepEqual([gaps, news], [[5], ['ann lost 5', 'bob lost 5']]);
    ann.detach();
    await say(gap);
    assert.deepEqual([gaps, news.slice(2)], [[5], ['bob lost 5']]);
  });

  it('needs no handler of the end', async () => {
    link.attach('ann', {}, { onMessages: () => undefined });
    await say(attached(1), detached(1, DetachReason.EXPIRED));
    assert.deepEqual(news, ['ann expired']);
  });

  it('says why a client is no longer attached', async () => {
    const all = ['a', 'b', 'c', 'd', 'e'].map((clientId) => attach(clientId));
    await say(attached(1, 2, 3, 4, 5));
    await say(
      detached(1, DetachReason.UNSPECIFIED),
      detached(2, DetachReason.REQUESTED, 'by pixied'),
      detached(3, DetachReason.TAKEN_OVER, 'elsewhere'),
      detached(4, DetachReason.DESTROYED),
      detached(5, DetachReason.EXPIRED),
      detached(6, DetachReason.EXPIRED),
    );
    assert.deepEqual(
      all.map(({ ends }) => ends),
      [
        [{ reason: 'requested', detail: '' }],
        [{ reason: 'requested', detail: 'by pixied' }],
        [{ reason: 'taken_over', detail: 'elsewhere' }],
        [{ reason: 'destroyed', detail: '' }],
        [{ reason: 'expired', detail: '' }],
      ],
    );
  });

  it('keeps its own reason for an end that it wanted, unless something else came first', async () => {
    const failure = new Error('no');
    const all = [attach('ann'), attach('bob', () => Promise.reject(failure)), attach('eve')];
    await say(attached(1, 2, 3));
    all[0]!.attachment.detach();
    all[2]!.attachment.detach();
    await say(delivery(1, 2));
    await say(detached(1, DetachReason.REQUESTED), detached(2, DetachReason.REQUESTED), detached(3, DetachReason.DESTROYED));
    assert.deepEqual(
      all.map(({ ends }) => ends),
      [
        [{ reason: 'requested', detail: 'detached by this front-end' }],
        [{ reason: 'refused', detail: 'its messages could not be handled', error: failure }],
        [{ reason: 'destroyed', detail: '' }],
      ],
    );
  });

  it('keeps the first reason for which a client is given up', async () => {
    let fail = (_error: Error): void => undefined;
    const { attachment, ends } = attach('ann', () => new Promise((_, reject) => (fail = reject)));
    await say(attached(1), delivery(1, 1));
    attachment.detach();
    fail(new Error('no'));
    await flush();
    await say(detached(1, DetachReason.REQUESTED));
    assert.deepEqual(ends.map(({ reason }) => reason), ['requested']);
    assert.deepEqual(commands(), ['attach 1', 'detach 1', 'ack 1']);
  });

  it('hands nothing more to a client that is about to leave or has left', async () => {
    const got: string[] = [];
    const ann = attach('ann', ([message]) => void got.push(message!.data));
    await say(attached(1));
    await say(delivery(1, 1, 9));
    ann.attachment.detach();
    ann.attachment.detach();
    await say(delivery(2, 1), detached(1, DetachReason.REQUESTED), delivery(3, 1));
    ann.attachment.detach();
    await flush();
    assert.deepEqual([got, commands()], [['1'], ['attach 1', 'ack 1', 'clientAck 1 1', 'detach 1', 'ack 3']]);
    assert.equal(ann.ends.length, 1);
  });

  it('confirms what a client has handled before it is given up, and nothing where there was nothing', async () => {
    const nothing = attach('nothing');
    attach('throws', (_, { number }) => {
      if (number === 2) throw new Error('no');
    });
    attach('rejects', (_, { number }) => (number === 3 ? Promise.reject(new Error('no')) : undefined));
    const explicit = attach('explicit', undefined, { ackMode: 'explicit' });
    attach('first', () => Promise.reject(new Error('no')));
    await say(attached(1, 2, 3, 4, 5));
    nothing.attachment.detach();
    await say(delivery(1, 2, 3, 4));
    await say(delivery(2, 2, 3));
    await say(delivery(3, 3));
    explicit.attachment.detach();
    await say(delivery(4, 5));
    assert.deepEqual(
      commands().filter((command) => !command.startsWith('attach')),
      [
        'detach 1',
        'ack 1',
        'clientAck 2 1',
        'detach 2',
        'ack 2',
        'clientAck 3 2',
        'detach 3',
        'ack 3',
        'detach 4',
        'clientAck 5 3',
        'detach 5',
        'ack 4',
      ],
    );
  });

  it('lets a client confirm by itself, on the stream that brought it and while it is attached', async () => {
    const infos: DeliveryInfo[] = [];
    const options: AttachOptions = { ackMode: 'explicit' };
    const { attachment } = attach('ann', (_, info) => (infos.push(info), new Promise(() => undefined)), options);
    await say(attached(1), delivery(1, 1), delivery(2, 1));
    attachment.confirm(infos[0]!);
    await flush();
    assert.deepEqual(commands(), ['attach 1', 'ack 2', 'clientAck 1 1']);
    await renew();
    attachment.confirm(infos[1]!);
    await say(attached(1), delivery(1, 1));
    attachment.confirm(infos[1]!);
    attachment.confirm(infos[2]!);
    attachment.detach();
    attachment.confirm(infos[2]!);
    await flush();
    assert.deepEqual(commands(), ['attach 1', 'ack 1', 'clientAck 1 1', 'detach 1']);
    assert.deepEqual(infos[2], { number: 1, stream: infos[0]!.stream + 1, redelivered: false, cursor: 1 });
  });

  it('remembers the newest of the confirmations that a client has made', async () => {
    const { attachment } = attach('ann', undefined, { ackMode: 'explicit' });
    const at = (stream: number, cursor: number) => {
      attachment.confirm({ number: 1, stream, cursor, redelivered: false });
      return attachment.ackCursor;
    };
    assert.deepEqual([at(1, 50), at(1, 60), at(1, 55), at(2, 10), at(1, 70), at(2, 5), at(2, 11)], [50, 60, 60, 10, 10, 10, 11]);
  });

  it('detaches a client whose detach came while it was being attached', async () => {
    const { attachment, ends } = attach('ann');
    attachment.detach();
    await flush();
    assert.deepEqual(commands(), ['attach 1']);
    await say(attached(1, 9));
    assert.deepEqual([commands(), attachment.state], [['attach 1', 'detach 1'], 'leaving']);
    await say(detached(1, DetachReason.REQUESTED));
    assert.deepEqual([ends.length, attachment.state], [1, 'gone']);
  });

  it('gives up a client that is refused, and tries again where that may help', async () => {
    const [gone, later, soon, leaving] = ['gone', 'later', 'soon', 'leaving'].map((clientId) => attach(clientId));
    await flush();
    leaving!.attachment.detach();
    const { length } = commands();
    await say(
      refused(1, Code.NOT_FOUND),
      refused(2, Code.UNAVAILABLE),
      refused(3, Code.UNAVAILABLE, 300),
      refused(4, Code.UNAVAILABLE),
      refused(9, Code.NOT_FOUND),
    );
    assert.equal(gone!.ends[0]?.reason, 'failed');
    assert.equal(gone!.ends[0]?.detail, 'refused');
    assert((gone!.ends[0]?.error as PixiedError).code === Code.NOT_FOUND);
    assert.deepEqual(leaving!.ends.map(({ reason }) => reason), ['requested']);
    await pass(299);
    assert.deepEqual(commands().slice(length), []);
    await pass(1);
    assert.deepEqual(commands().slice(length), ['attach 3']);
    await pass(699);
    assert.deepEqual(commands().slice(length), ['attach 3']);
    await pass(1);
    assert.deepEqual(commands().slice(length), ['attach 3', 'attach 2']);
    assert.deepEqual([later!.ends, soon!.ends], [[], []]);
  });

  it('does not try again for a client that left, is attached, or was attached by a new stream', async () => {
    const [leaving, taken] = [attach('leaving'), attach('taken'), attach('renewed')];
    await say(refused(1, Code.UNAVAILABLE), refused(2, Code.UNAVAILABLE));
    leaving!.attachment.detach();
    await say(attached(2));
    await pass(1_000);
    assert.deepEqual(commands(), ['attach 1', 'attach 2', 'attach 3']);
    assert.deepEqual([leaving!.ends.map(({ reason }) => reason), taken!.ends], [['requested'], []]);
    await say(refused(3, Code.UNAVAILABLE, 999));
    scripted.call.break(Code.UNAVAILABLE);
    await pass(500);
    await say(WELCOME);
    await pass(499);
    assert.deepEqual(commands(), ['attach 2', 'attach 3']);
  });

  it('tries again on the next stream where that refuses a client for now', async () => {
    attach('ann');
    await say(attached(1));
    await renew();
    await say(refused(1, Code.UNAVAILABLE));
    await pass(1_000);
    assert.deepEqual(commands(), ['attach 1', 'attach 1']);
  });

  it('says what ended its stream', () => {
    scripted.call.break(Code.INTERNAL, 'a defect');
    assert.deepEqual(news, ['down: Attach: a defect']);
  });

  it('uses the handle of a client that has left again', async () => {
    const { attachment } = attach('ann');
    attach('bob');
    await say(attached(1, 2));
    attachment.detach();
    assert.equal(attach('eve').attachment.handle, 3);
    await say(detached(1, DetachReason.REQUESTED));
    assert.deepEqual([attach('joe').attachment.handle, attach('kim').attachment.handle], [1, 4]);
  });

  it('attaches its clients again on the next stream, but for those that were leaving', async () => {
    const handled: (() => void)[] = [];
    const ann = attach('ann', () => new Promise((resolve) => handled.push(resolve)));
    const bob = attach('bob');
    await say(attached(1, 2), delivery(1, 1, 2));
    bob.attachment.detach();
    await renew();
    assert.deepEqual([commands(), bob.ends.map(({ reason }) => reason)], [['attach 1'], ['requested']]);
    assert.deepEqual(news, ['bob requested', 'down: pixied at nowhere:1 cannot be reached: it broke', 'up 1']);
    await say(attached(1));
    handled[0]!();
    await flush();
    assert.deepEqual(commands(), ['attach 1']);
    ann.attachment.detach();
    await flush();
    assert.deepEqual(commands(), ['attach 1', 'detach 1']);
  });

  it('attaches a client once that its owner attaches as soon as it is up', async () => {
    attach('ann');
    onUp = () => void attach('bob');
    await renew();
    assert.deepEqual(commands(), ['attach 1', 'attach 2']);
  });

  it('confirms nothing on the next stream for work of the last one that fails', async () => {
    const failing: ((error: Error) => void)[] = [];
    attach('ann', (_, { number }) => (number === 3 ? new Promise((_, reject) => failing.push(reject)) : undefined));
    await say(attached(1), delivery(1, 1), delivery(2, 1), delivery(3, 1));
    await renew();
    await say(attached(1));
    failing[0]!(new Error('no'));
    await flush();
    assert.deepEqual(commands(), ['attach 1', 'detach 1']);
  });

  it('ends what a client wants to end at once while there is no stream', async () => {
    const { attachment, ends } = attach('ann');
    await say(attached(1));
    scripted.become(connectivityState.CONNECTING);
    scripted.call.break(Code.UNAVAILABLE);
    attachment.detach();
    assert.deepEqual(ends.map(({ reason }) => reason), ['requested']);
    attach('bob');
    await pass(5_000);
    scripted.become(connectivityState.READY);
    await turn();
    await say(WELCOME);
    assert.deepEqual(commands(), ['attach 1']);
  });

  it('hangs up for a stopping server when what was handled is confirmed, and comes back when it says', async () => {
    attach('ann');
    await say(attached(1));
    const { call } = scripted;
    call.emit('data', { events: [delivery(1, 1), { $case: 'closing', value: { reconnectAfterMs: 8_000 } }].map((event) => ({ event })) });
    await turn();
    assert.equal(call.isEnded, false);
    await flush();
    await turn();
    assert.deepEqual([call.isEnded, commands()], [true, ['attach 1', 'ack 1']]);
    call.emit('end');
    await pass(7_999);
    assert.equal(scripted.calls.length, 1);
    await pass(1);
    assert.equal(scripted.calls.length, 2);
  });

  it('does not hang up on the next stream what was said on the last one', async () => {
    const closing: Said = { $case: 'closing', value: { reconnectAfterMs: 0 } as never };
    scripted.call.emit('data', { events: [{ event: closing }] });
    scripted.call.emit('end');
    mock.timers.tick(0);
    await flush();
    await say(WELCOME);
    assert.deepEqual([scripted.calls.length, scripted.call.isEnded], [2, false]);
    // The same, but for that the last stream still had something to write.
    attach('ann');
    scripted.call.emit('data', { events: [{ event: closing }] });
    await turn();
    await turn();
    scripted.call.emit('end');
    mock.timers.tick(0);
    await flush();
    await flush();
    assert.deepEqual([scripted.calls.length, scripted.call.isEnded], [3, false]);
  });

  it('gives up a stream that has been silent for longer than the limit', async () => {
    const { call } = scripted;
    await pass(30_000);
    await pass(10);
    assert.equal(call.isCancelled, false);
    await pass(10_000);
    await pass(9);
    assert.equal(call.isCancelled, false);
    await pass(1);
    assert.deepEqual([call.isCancelled, news], [true, ['down: pixied at nowhere:1 cannot be reached: it was silent for 30000 ms']]);
  });

  it('keeps a stream that says something in the last moment, and one that is new', async () => {
    const { call } = scripted;
    await pass(40_000);
    scripted.call.emit('data', { events: [] });
    await pass(10);
    assert.equal(call.isCancelled, false);
    await pass(39_990);
    scripted.call.break(Code.UNAVAILABLE);
    await pass(0);
    await pass(10);
    assert.deepEqual([scripted.calls.length, scripted.call.isCancelled], [2, false]);
  });

  it('does not look for silence before it is welcomed', async () => {
    scripted.call.break(Code.UNAVAILABLE);
    await pass(100);
    await pass(100_000);
    assert.deepEqual([scripted.calls.length, scripted.call.isCancelled], [2, false]);
  });

  it('refuses ids that no server takes, and takes all others', async () => {
    const good = ['x'.repeat(255), 'é'.repeat(127)].map((clientId) => attach(clientId));
    const bad = ['', 'x'.repeat(256), 'é'.repeat(128), undefined, 7, new Uint8Array(3)].map((clientId) => attach(clientId as string));
    assert(bad.every(({ ends }) => ends.length === 0));
    await flush();
    for (const { ends } of bad) {
      const { reason, detail, error } = ends[0]!;
      assert.deepEqual([reason, detail], ['failed', 'a client id has 1 to 255 bytes']);
      assert(error instanceof FieldInvalid);
      assert.deepEqual([error.reason, error.code, error.field], ['FIELD_INVALID', Code.INVALID_ARGUMENT, 'client_id']);
    }
    assert(good.every(({ ends }) => ends.length === 0));
    assert.deepEqual(commands(), ['attach 1', 'attach 2']);
  });

  it('refuses cursors that no server hands out, and takes all others', async () => {
    const good = [0, 2 ** 53 - 1].map((ackCursor) => attach('ann', undefined, { ackCursor }));
    const bad = [-1, 1.5, NaN, Infinity, 2 ** 53, 2 ** 64, '7', 7n, true];
    const refused = bad.map((ackCursor) => attach('bob', undefined, { ackCursor: ackCursor as number }));
    assert(refused.every(({ ends }) => ends.length === 0));
    await flush();
    for (const { ends } of refused) {
      const { reason, detail, error } = ends[0]!;
      assert.deepEqual([reason, detail], ['failed', 'no delivery has such a cursor; name one that came with a delivery']);
      assert(error instanceof FieldInvalid);
      assert.deepEqual([error.reason, error.code, error.field], ['FIELD_INVALID', Code.INVALID_ARGUMENT, 'ack_cursor']);
    }
    assert(good.every(({ ends }) => ends.length === 0));
    await renew();
    assert.deepEqual(commands(2), ['attach 1', 'attach 2']);
  });

  it('takes nothing for a confirmation that came with no delivery', async () => {
    const { attachment } = attach('ann', undefined, { ackMode: 'explicit' });
    await say(attached(1), delivery(1, 1));
    const info = { number: 1, stream: 1, cursor: 1, redelivered: false };
    for (const forged of [{ cursor: 2 ** 64 }, { cursor: -1 }, { cursor: '1' }, { number: 0.5 }, { number: -1 }, { number: '1' }]) {
      assert.throws(() => attachment.confirm({ ...info, ...forged } as DeliveryInfo), TypeError);
    }
    assert.equal(attachment.ackCursor, 0);
    await renew();
    assert.deepEqual(commands(2), ['attach 1']);
  });

  it('ends a client once that is given up before its id is refused, and gives its handle to one other', async () => {
    scripted.call.break(Code.UNAVAILABLE);
    const { attachment, ends } = attach('');
    attachment.detach();
    await pass(5_000);
    assert.deepEqual(ends.map(({ reason }) => reason), ['requested']);
    await say(WELCOME);
    attach('ann');
    attach('bob');
    await flush();
    assert.deepEqual(commands(), ['attach 1', 'attach 2']);
  });

  it('is closed when the server has read what was to be confirmed, and has nothing to report then', async () => {
    const { attachment, ends } = attach('ann');
    const leaving = attach('bob');
    await say(attached(1, 2));
    leaving.attachment.detach();
    scripted.call.emit('data', { events: [{ event: delivery(1, 1) }] });
    isClosed = true;
    let hasClosed = false;
    const closed = link.close(2_000).then(() => (hasClosed = true));
    await flush();
    await flush();
    assert.deepEqual([scripted.call.isEnded, hasClosed], [true, false]);
    assert.deepEqual(commands(), ['attach 1', 'attach 2', 'detach 2', 'ack 1']);
    scripted.call.emit('end');
    await closed;
    assert.deepEqual(ends, [{ reason: 'closed', detail: 'this front-end has been closed' }]);
    assert.deepEqual([leaving.ends.map(({ reason }) => reason), attachment.state], [['requested'], 'gone']);
    assert.deepEqual(news, ['ann closed', 'bob requested']);
    await pass(60_000);
    assert.deepEqual([scripted.calls.length, scripted.call.isCancelled], [1, false]);
  });

  it('is closed in time when the server reads nothing, or does not end the stream', async () => {
    for (const reads of [false, true]) {
      attach('ann');
      await turn();
      isClosed = true;
      let hasClosed = false;
      const closed = link.close(2_000).then(() => (hasClosed = true));
      if (reads) await flush();
      mock.timers.tick(1_999);
      await turn();
      assert.equal(hasClosed, false);
      mock.timers.tick(1);
      await closed;
      await begin();
      await say(WELCOME);
    }
  });

  it('is closed at once while there is no stream', async () => {
    const { ends } = attach('ann');
    scripted.call.break(Code.UNAVAILABLE);
    isClosed = true;
    await link.close(2_000);
    assert.deepEqual(ends.map(({ reason }) => reason), ['closed']);
    await link.close(2_000);
    const late = attach('bob');
    assert.deepEqual(late.ends, []);
    await turn();
    assert.deepEqual(late.ends, [{ reason: 'closed', detail: 'this front-end has been closed' }]);
  });

  it('is closed at once while it is not welcomed', async () => {
    scripted.call.break(Code.UNAVAILABLE);
    await pass(100);
    assert.equal(scripted.calls.length, 2);
    isClosed = true;
    await link.close(2_000);
    assert.equal(scripted.call.isCancelled, true);
  });

  it('wants a handler, of each client or for all', async () => {
    assert.throws(() => link.attach('ann', {}, {}), TypeError);
    await close();
    await begin(() => undefined);
    isClosed = false;
    link.attach('ann', {}, {});
    link.attach('bob', {}, { onMessages: () => undefined });
  });

  it('hands whole batches over, to those who are wanted, and confirms them when they are handled', async () => {
    await close();
    const batches: Batch[] = [];
    const finish: ((error?: Error) => void)[] = [];
    await begin((batch) => {
      batches.push(batch);
      if (batch.number === 1) return;
      return new Promise((resolve, reject) => finish.push((error) => (error ? reject(error) : resolve())));
    });
    isClosed = false;
    const clients = ['ann', 'bob', 'eve'].map((clientId) => attach(clientId));
    await say(WELCOME);
    await say(attached(1, 2, 3));
    const both = (number: number, handles: number[]): Said => ({
      $case: 'delivery',
      value: { number, batches: [{ messages: [{ data: '1' } as Message], handles, redelivered: true, cursor: 70 + number }] },
    });
    await say(both(1, [1, 2, 9]));
    clients[0]!.attachment.detach();
    await say(both(2, [1]));
    await say(both(3, [1, 2, 3]));
    assert.deepEqual(commands().filter((command) => command.startsWith('ack')), ['ack 1', 'ack 2']);
    finish[0]!();
    await flush();
    assert.equal(commands().at(-1), 'ack 3');
    await say(both(4, [2, 3]));
    finish[1]!(new Error('no'));
    await flush();
    assert.deepEqual(commands().slice(-3), ['detach 2', 'detach 3', 'ack 4']);
    const common = { messages: [{ data: '1' }], redelivered: true, stream: 1 };
    assert.deepEqual(batches, [
      { ...common, number: 1, handles: [1, 2], cursor: 71 },
      { ...common, number: 3, handles: [2, 3], cursor: 73 },
      { ...common, number: 4, handles: [2, 3], cursor: 74 },
    ]);
  });
});

/** The numbers by which a command names something. */
function numbersOf(value: object): number[] {
  const { handle, number } = value as { handle?: number; number?: number };
  return [handle, number].filter((each) => each !== undefined);
}
