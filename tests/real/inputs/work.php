<?php
// JSON, mbstring, DOM, PDO with SQLite, Phar, regular expressions, sorting; prints digests only.
$rounds = (int)$argv[1];
for ($round = 0; $round < $rounds; $round++) {
    $data = [];
    for ($i = 0; $i < 5000; $i++)
        $data["key $i"] = ['n' => $i * 31 % 101, 's' => str_repeat('é', $i % 30), 'o' => new ArrayObject([$i])];
    uasort($data, fn($a, $b) => [$a['n'], $a['s']] <=> [$b['n'], $b['s']]);
    $text = json_encode($data);
    echo md5($text), ' ', md5(serialize(json_decode($text, true))), "\n";
    echo mb_strlen($text), ' ', md5(mb_convert_encoding($text, 'UTF-16', 'UTF-8')), ' ',
        md5(mb_strtoupper($text)), "\n";
    echo preg_match_all('/"n":(\d+)/', $text, $found), ' ', array_sum($found[1]), "\n";
}
$document = new DOMDocument();
$root = $document->appendChild($document->createElement('root'));
for ($i = 0; $i < 2000; $i++) {
    $item = $root->appendChild($document->createElement('item', "text $i"));
    $item->setAttribute('id', (string)$i);
}
$xml = $document->saveXML();
$again = new DOMDocument();
$again->loadXML($xml);
$path = new DOMXPath($again);
echo md5($xml), ' ', $path->query('//item[@id mod 7 = 3]')->length, "\n";
echo count(simplexml_load_string($xml)->item), "\n";
$db = new PDO('sqlite::memory:');
$db->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
$db->exec('CREATE TABLE t(a INTEGER, b TEXT)');
$insert = $db->prepare('INSERT INTO t VALUES(?, ?)');
$db->beginTransaction();
for ($i = 0; $i < 5000; $i++)
    $insert->execute([$i, "row $i"]);
$db->commit();
echo json_encode($db->query('SELECT count(*), sum(a), max(b) FROM t')->fetchAll(PDO::FETCH_NUM)), "\n";
$phar = new Phar('work.phar');
for ($i = 0; $i < 50; $i++)
    $phar["file$i.txt"] = str_repeat("line $i\n", 500);
unset($phar);
echo md5(file_get_contents('phar://' . getcwd() . '/work.phar/file33.txt')), "\n";
function numbers($n) { for ($i = 0; $i < $n; $i++) yield $i => str_repeat('x', $i % 100); }
$total = 0;
foreach (numbers(20000) as $value)
    $total += strlen($value);
echo $total, ' ', strlen(gzinflate(gzdeflate(str_repeat('compress me ', 20000)))), "\n";
try { throw new RuntimeException('thrown'); } catch (Exception $e) { echo $e->getMessage(), "\n"; }
echo shell_exec('echo from a shell');
exit(5);
