// Channels that stay within this process: `/service/**` and `/meta/**`, to which Faye's own server-side client may
// subscribe. pixied refuses them, for they are a client's private line to the server that it talks to.

const PRIVATE = /^\/(meta|service)(\/|$)/;
/** These patterns match private channels too, in Faye. */
const BROAD: ReadonlySet<string> = new Set(['/**', '/*']);

/** Whether a channel or pattern is for this process alone. */
export function isPrivate(channel: string): boolean {
  return PRIVATE.test(channel);
}

/** The patterns that match a channel, as Faye sees it: itself, one `*`, and a `**` for each level. */
function patternsOf(channel: string): string[] {
  const segments = channel.split('/').slice(1);
  const deep = segments.map((_, level) => ['', ...segments.slice(0, level), '**'].join('/'));
  return [channel, ['', ...segments.slice(0, -1), '*'].join('/'), ...deep];
}

/** Who subscribes, through this process, to what private channels match. */
export class PrivateChannels {
  private readonly subscribers = new Map<string, Set<string>>();
  private readonly channels = new Map<string, Set<string>>();

  /** Everyone who is subscribed here. */
  get clientIds(): Iterable<string> {
    return this.channels.keys();
  }

  /** Notes a subscription if private channels match it. The answer: whether it is new. */
  subscribe(clientId: string, channel: string): boolean {
    if (!isPrivate(channel) && !BROAD.has(channel)) return false;
    const isNew = !this.channels.get(clientId)?.has(channel);
    put(this.channels, clientId, channel);
    put(this.subscribers, channel, clientId);
    return isNew;
  }

  /** Ends a subscription. The answer: whether there was one. */
  unsubscribe(clientId: string, channel: string): boolean {
    take(this.subscribers, channel, clientId);
    return take(this.channels, clientId, channel);
  }

  /** Forgets a client. The answer: the private channels that it was subscribed to. */
  forget(clientId: string): string[] {
    const channels = [...(this.channels.get(clientId) ?? [])];
    for (const channel of channels) this.unsubscribe(clientId, channel);
    return channels.filter(isPrivate);
  }

  /** Whom a message to a private channel reaches, each once. */
  audienceOf(channel: string): Set<string> {
    return new Set(patternsOf(channel).flatMap((pattern) => [...(this.subscribers.get(pattern) ?? [])]));
  }
}

function put(sets: Map<string, Set<string>>, key: string, member: string): void {
  const set = sets.get(key);
  if (set) set.add(member);
  else sets.set(key, new Set([member]));
}

function take(sets: Map<string, Set<string>>, key: string, member: string): boolean {
  const set = sets.get(key);
  const was = set?.delete(member) ?? false;
  if (set?.size === 0) sets.delete(key);
  return was;
}
