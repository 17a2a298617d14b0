.bail on
PRAGMA page_size = 4096;
PRAGMA cache_size = 200;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL, tags TEXT, body BLOB);
CREATE TABLE sale(id INTEGER PRIMARY KEY, item INTEGER REFERENCES item(id), amount INTEGER, day TEXT);
CREATE INDEX item_name ON item(name);
CREATE INDEX sale_item ON sale(item, day);
CREATE VIRTUAL TABLE doc USING fts5(title, body);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
INSERT INTO item SELECT i, printf('item %05d %s', i * 7919 % 8000, hex(i * i)), (i * 37 % 1000) / 10.0,
  json_array(i, i % 13, json_object('k', i % 7)), zeroblob(i % 900) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
INSERT INTO sale SELECT i, i * 31 % 8000 + 1, i % 17, date('2020-01-01', (i % 700) || ' days') FROM n;
INSERT INTO doc SELECT name, group_concat(tags, ' ') FROM item GROUP BY id / 20;
COMMIT;
CREATE TRIGGER sold AFTER INSERT ON sale BEGIN UPDATE item SET price = price + 1 WHERE id = new.item; END;
INSERT INTO sale SELECT id + 100000, item, amount, day FROM sale WHERE id % 11 = 0;
UPDATE item SET name = upper(name) || ' updated', body = zeroblob(length(body) + 50) WHERE id % 3 = 0;
DELETE FROM sale WHERE id % 5 = 0;
SELECT count(*), sum(amount), min(day), max(day) FROM sale;
SELECT day, sum(amount * price) AS total, count(DISTINCT item) FROM sale JOIN item ON item.id = sale.item
  GROUP BY day ORDER BY total DESC, day LIMIT 20;
SELECT name, rank() OVER (PARTITION BY id % 10 ORDER BY price DESC, id) AS r FROM item ORDER BY id LIMIT 30;
SELECT json_extract(tags, '$[2].k'), count(*) FROM item GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM doc WHERE doc MATCH 'updated OR 7';
SELECT group_concat(name, ';') FROM (SELECT name FROM item WHERE name GLOB '*A*' ORDER BY name LIMIT 200);
SAVEPOINT a; DELETE FROM item WHERE id > 4000; ROLLBACK TO a; RELEASE a;
SELECT count(*) FROM item;
VACUUM;
PRAGMA integrity_check;
PRAGMA foreign_key_check;
.dump sale
