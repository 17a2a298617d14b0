# Strings, hashes, threads, a fork, a pipe, signals; read from a file, since Ruby's input buffers are
# known by a pointer in a packed struct only.
require 'json'
require 'set'
require 'stringio'

size = Integer(ARGV[0] || 1)
table = {}
(100_000 * size).times { |i| table["k#{i % 5000}"] = 'v' * (i % 100 + 1) }
puts table.size, table['k4999']
threads = 4.times.map do |k|
  Thread.new { (20_000 * size).times.sum { |i| "#{i + k}".reverse.to_i % 7 } }
end
puts threads.map(&:value).inspect
reader, writer = IO.pipe
child = fork do
  reader.close
  writer.puts 'from the child', Set.new(1..1000).size
  exit!(0)
end
writer.close
puts reader.read
Process.wait(child)
puts `echo from a shell`
caught = 0
trap('USR1') { caught += 1 }
5.times { |i| Process.kill('USR1', $$); sleep 0.01 until caught > i }
puts caught
lines = File.foreach(__FILE__).map(&:length)
puts lines.sum, JSON.generate(lines.first(3)), JSON.parse('[1, {"a": [2, null]}]').inspect
io = StringIO.new
File.open(__FILE__) { |f| while (part = f.read(7)) do io << part end }
puts io.string == File.read(__FILE__)
sleeper = Thread.new { sleep }
sleeper.kill
puts sleeper.join.inspect.sub(/0x\h+/, 'ADDRESS').sub(/ [^ ]*:\d+/, '')
puts (1..100_000).map { |x| x * x }.sum
GC.start
puts 'done'
