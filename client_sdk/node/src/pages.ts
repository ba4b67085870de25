// Long lists come in pages.

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** For the next call; empty on the last page. */
  readonly nextPageToken: string;
}

/** The items of all pages, each asked for when it is needed. */
export async function* itemsOf<T>(pageAfter: (token: string) => Promise<Page<T>>): AsyncGenerator<T, void, undefined> {
  let token = '';
  do {
    const { items, nextPageToken } = await pageAfter(token);
    yield* items;
    token = nextPageToken;
  } while (token !== '');
}
