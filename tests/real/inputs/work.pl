# Hashes, regular expressions, closures, sorting, formats, pipes, fork.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use List::Util qw(sum reduce);
use Data::Dumper;
$Data::Dumper::Sortkeys = 1;
my $rounds = shift;
for my $round (1 .. $rounds) {
    my %count;
    my $text = join ' ', map { "word" . ($_ * 7919 % 4999) } 1 .. 20000;
    $count{$1}++ while $text =~ /\b(word\d+)\b/g;
    print md5_hex(join ',', map { "$_=$count{$_}" } sort keys %count), "\n";
    (my $changed = $text) =~ s/(\d+)/sprintf '%05x', $1 * $round/ge;
    print md5_hex($changed), " ", length $changed, "\n";
    my @sorted = sort { $a->{n} <=> $b->{n} || $a->{s} cmp $b->{s} }
        map { { n => $_ * 31 % 101, s => "s" x ($_ % 50), list => [1 .. $_ % 9] } } 1 .. 5000;
    print md5_hex(Dumper(\@sorted)), "\n";
    my @closures = map { my $n = $_; sub { $n += shift } } 1 .. 3000;
    print sum(map { $_->(2) } @closures), "\n";
    my $tree = reduce { [$a, $b] } 1 .. 2000;
    my $depth = 0;
    while (ref $tree) { $tree = $tree->[0]; $depth++ }
    print "$depth\n";
    print md5_hex(join '', map { pack 'NnCa*', $_, $_ % 65536, $_ % 256, "x$_" } 1 .. 5000), "\n";
}
local $SIG{ALRM} = sub { die "alarm\n" };
eval { die { code => 42 } };
print "caught $@->{code}\n";
my $pid = open(my $pipe, '-|') // die;
if (!$pid) { print "from the child: ", md5_hex('a' x 100000), "\n"; exit 3 }
print <$pipe>;
close $pipe;
print "status ", $? >> 8, "\n";
print `echo back quotes`;
