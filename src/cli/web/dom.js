// dom.js -- elements. Text from the profile becomes text nodes and attributes, never markup.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

export function section(id, title, ...children) {
  return element(
    'section',
    { id, 'aria-labelledby': `${id}-title` },
    element('h2', { id: `${id}-title` }, title),
    ...children,
  );
}

// A labelled choice; `choices` are [value, text].
export function choice(label, choices, value, onchange) {
  const select = element(
    'select',
    { onchange: () => onchange(select.value) },
    choices.map(([name, text]) =>
      element('option', { value: name, selected: name === value }, text),
    ),
  );
  return element('label', { class: 'choice' }, element('span', {}, label), select);
}

export function searchBox(label, oninput) {
  const box = element('input', {
    type: 'search',
    placeholder: label,
    'aria-label': label,
    spellcheck: 'false',
    autocomplete: 'off',
    oninput: () => oninput(box.value),
  });
  return box;
}

export function cssColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
