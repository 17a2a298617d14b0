// theme.js -- dark or light: what the system says, until the button is pressed. Paper is light.
import { element } from './dom.js';
import { onPaper } from './paper.js';

const root = document.documentElement;
const system = matchMedia('(prefers-color-scheme: dark)');

const isDark = () => (root.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';

// `changed` draws again what has colours in its pixels.
export function themeButton(changed) {
  const button = element('button', {
    type: 'button',
    class: 'theme',
    onclick: () => {
      root.dataset.theme = isDark() ? 'light' : 'dark';
      renew();
    },
  });
  function renew() {
    button.textContent = isDark() ? 'Light' : 'Dark';
    changed();
  }
  button.textContent = isDark() ? 'Light' : 'Dark';
  system.addEventListener('change', () => root.dataset.theme ?? renew());

  let before;
  onPaper((printing) => {
    if (printing) before = root.dataset.theme;
    if (printing) root.dataset.theme = 'light';
    else if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    renew();
  });
  return button;
}
