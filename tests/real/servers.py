"""servers.py -- redis and nginx under load, on 127.0.0.1, each stopped as its manual says."""

import http.client
import os
import signal

from stage import Trouble, checksum, free_port

REDIS_CONFIG = '''
bind 127.0.0.1
port %d
save ""
appendonly yes
appendfsync no
io-threads 2
maxclients 200
enable-debug-command local
dir %s
'''


def redis_commands(count):
    """A fixed set of data of every kind."""
    lines = []
    for i in range(count):
        lines += [f'SET string:{i} {"v" * (i % 300)}{i}', f'INCRBY counter:{i % 50} {i}',
                  f'RPUSH list:{i % 40} {i} {i * 7}', f'SADD set:{i % 30} member{i}',
                  f'HSET hash:{i % 60} field{i} {i * i}', f'ZADD sorted:{i % 20} {i % 97} m{i}',
                  f'SETRANGE big:{i % 5} {i * 3} {"z" * 200}']
        if i % 3 == 0:
            lines += [f'DEL string:{i // 2}', f'LPOP list:{i % 40}', f'ZREM sorted:{i % 20} m{i // 3}']
        if i % 100 == 0:
            lines += [f'XADD stream {i + 1}-1 field {i}', f'PFADD hll {i}', f'SETBIT bits {i} 1',
                      f'EVAL "local t = {{}} for i = 1, 200 do t[i] = i * {i} end '
                      f'return redis.call(\'SET\', KEYS[1], cjson.encode(t))" 1 script:{i}']
    return ('\n'.join(lines) + '\n').encode()


def redis(stage, *, commands, requests):
    port = free_port()
    with open(stage.path('redis.conf'), 'w', encoding='utf-8') as config:
        config.write(REDIS_CONFIG % (port, stage.work))

    def cli(*arguments, stdin=None):
        return stage.tool(['redis-cli', '-h', '127.0.0.1', '-p', str(port), *arguments], stdin=stdin,
                          timeout=120).out

    with stage.server(['redis-server', stage.path('redis.conf')], ready='Ready to accept connections',
                      stop=lambda server: cli('SHUTDOWN', 'NOSAVE')) as server:
        stage.tool(['redis-benchmark', '-h', '127.0.0.1', '-p', str(port), '-q', '-n', str(requests),
                    '-c', '20', '-r', '2000', '-d', '200', '-P', '4', '-t',
                    'set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset'],
                   timeout=120)
        cli('FLUSHALL')
        cli(stdin=redis_commands(commands))
        stage.observe('keys', cli('DBSIZE'))
        digest = cli('DEBUG', 'DIGEST')
        stage.observe('digest', digest)
        stage.observe('list', cli('LRANGE', 'list:7', '0', '-1'))
        stage.observe('reload', cli('DEBUG', 'RELOAD'))
        stage.observe('rewrite', cli('BGREWRITEAOF'))
        server.wait_for('Background AOF rewrite finished successfully', 60 * stage.patience)
        stage.observe('background save', cli('BGSAVE'))
        server.wait_for('Background saving terminated with success', 60 * stage.patience)
        stage.observe('from the file', cli('DEBUG', 'LOADAOF'))
        stage.observe('digest again', cli('DEBUG', 'DIGEST'))
    stage.tool(['redis-check-rdb', stage.path('dump.rdb')])


NGINX_CONFIG = '''
%(user)s
daemon off;
worker_processes 2;
pid %(work)s/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http {
    access_log %(work)s/access.log;
    default_type text/plain;
    client_body_temp_path %(work)s/tmp1; proxy_temp_path %(work)s/tmp2; fastcgi_temp_path %(work)s/tmp3;
    uwsgi_temp_path %(work)s/tmp4; scgi_temp_path %(work)s/tmp5;
    proxy_cache_path %(work)s/cache keys_zone=one:1m;
    sendfile on;
    gzip on; gzip_types text/plain; gzip_min_length 100;
    server {
        listen 127.0.0.1:%(port)d;
        root %(work)s/files;
        location / { }
        location /list/ { alias %(work)s/files/; autoindex on; autoindex_exact_size on; }
        location /old/ { rewrite ^/old/(.*)$ /$1 last; }
        location /status { return 200 "status of $host $request_uri $arg_a\\n"; }
        location /through/ { proxy_pass http://127.0.0.1:%(port)d/; proxy_buffering on; }
        location /cached/ { proxy_pass http://127.0.0.1:%(port)d/; proxy_cache one;
                            proxy_cache_valid 200 1m; }
    }
}
'''
NGINX_FILES = {'empty': 0, 'small': 137, 'page': 20000, 'picture': 300000, 'large': 5000000}


def nginx_prepare(stage, port):
    os.mkdir(stage.path('files'))
    for name, size in NGINX_FILES.items():
        with open(stage.path('files', name), 'wb') as file:
            file.write((b'%s line of text\n' % name.encode() * (size // 10 + 1))[:size])
        os.utime(stage.path('files', name), (1600000000, 1600000000))
    user = 'user root;' if os.geteuid() == 0 else ''
    with open(stage.path('nginx.conf'), 'w', encoding='utf-8') as config:
        config.write(NGINX_CONFIG % {'work': stage.work, 'port': port, 'user': user})


def fetch(port, path, headers):
    """One request on a connection of its own; the parts of the answer that do not vary."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    try:
        connection.request('GET', path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return answer.status, answer.getheader('Content-Type'), answer.getheader('Content-Encoding'), body


def nginx_fetch_all(stage, port, when):
    for prefix in ['/', '/old/', '/through/', '/cached/']:
        for name, size in NGINX_FILES.items():
            for headers in [{}, {'Accept-Encoding': 'gzip'}, {'Range': 'bytes=100-4000'}]:
                answer = fetch(port, prefix + name, headers)
                if prefix == '/' and not headers and len(answer[3]) != size:
                    raise Trouble(f'nginx gave {len(answer[3])} of {size} bytes of {name}')
                stage.observe(f'{when} {prefix}{name} {headers}', repr(answer).encode())
    for path in ['/list/', '/status?a=1', '/missing', '/../etc/passwd']:
        stage.observe(f'{when} {path}', repr(fetch(port, path, {})).encode())


def nginx_load(stage, port, seconds):
    for path in ['/page', '/through/picture', '/cached/page', '/status?a=2']:
        text = stage.tool(['wrk', '-t1', '-c24', f'-d{seconds}s', '-H', 'Accept-Encoding: gzip',
                           f'http://127.0.0.1:{port}{path}']).out_text
        if 'Non-2xx' in text or 'Socket errors' in text or 'Requests/sec' not in text:
            raise Trouble(f'wrk is not content with {path}', text)


def nginx(stage, *, seconds):
    port = free_port()
    nginx_prepare(stage, port)
    with stage.server(['nginx', '-e', 'stderr', '-p', stage.work, '-c', stage.path('nginx.conf')],
                      ready='start worker process',
                      stop=lambda server: server.process.send_signal(signal.SIGQUIT)) as server:
        nginx_fetch_all(stage, port, 'first')
        nginx_load(stage, port, seconds)
        server.process.send_signal(signal.SIGHUP)       # new workers, the old ones finish
        for _ in range(2):
            server.wait_for('worker process .* exited with code 0', 60 * stage.patience)
        nginx_load(stage, port, seconds)
        nginx_fetch_all(stage, port, 'last')
    crashes = [line for line in server.text().splitlines()
               if 'exited on signal' in line or '[alert]' in line or '[emerg]' in line]
    if crashes:
        raise Trouble(f'nginx: {crashes[0]}', server.text())
    stage.observe('large file', checksum(stage.path('files', 'large')))
