// The messages as they are seen.

export class Timeline {
  #list;
  #name;
  #items = new Map();

  // list: an <ol>. name: whose messages stand on the right.
  constructor(list, name) {
    this.#list = list;
    this.#name = name;
  }

  // Show what has been said here, and not been received yet.
  expect(message) {
    const item = this.#itemOf(message);
    item.classList.add('expected');
    this.#items.set(message.id, item);
    this.#put(item, null);
  }

  // Show a message: before another one, or at the end.
  add(message, next) {
    this.#items.get(message.id)?.remove();
    const item = this.#itemOf(message);
    this.#items.set(message.id, item);
    this.#put(item, (next && this.#items.get(next.id)) ?? this.#list.querySelector('.expected'));
  }

  note(text) {
    const item = document.createElement('li');
    item.className = 'note';
    item.textContent = text;
    this.#put(item, null);
  }

  #put(item, next) {
    const list = this.#list;
    // Who has scrolled up to read is left there.
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    list.insertBefore(item, next);
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  #itemOf({ id, name, client, text, at }) {
    const item = document.createElement('li');
    item.className = name === this.#name ? 'message mine' : 'message';
    item.dataset.id = id;
    item.dataset.client = client;
    const said = document.createElement('p');
    said.textContent = text;
    const about = document.createElement('small');
    const time = new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    about.textContent = `${name} · ${time}`;
    item.append(said, about);
    return item;
  }
}
