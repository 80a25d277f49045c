const http = require("node:http");

const port = Number(process.env.PORT ?? 8080);

http
  .createServer((request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain" });
    response.end(`Hello World, this is ${process.version}\n`);
  })
  .listen(port, () => console.log(`Listening on port ${port}`));
